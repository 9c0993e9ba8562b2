package charset

import (
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// UTF8 is the set of nearly all sessions.
var UTF8 = &Charset{name: "UTF8", utf8: true}

// sets are the sets by PostgreSQL's names (pg_enc2name_tbl, src/common/encnames.c). Of MULE_INTERNAL only ASCII is
// understood: its characters say themselves which set they are of.
var sets = map[string]*Charset{
	"UTF8":      UTF8,
	"SQL_ASCII": {name: "SQL_ASCII", size: oneByte, private: true, bytes: true},

	"LATIN1":     single("LATIN1", charmap.ISO8859_1),
	"LATIN2":     single("LATIN2", charmap.ISO8859_2),
	"LATIN3":     single("LATIN3", charmap.ISO8859_3),
	"LATIN4":     single("LATIN4", charmap.ISO8859_4),
	"LATIN5":     single("LATIN5", charmap.ISO8859_9),
	"LATIN6":     single("LATIN6", charmap.ISO8859_10),
	"LATIN7":     single("LATIN7", charmap.ISO8859_13),
	"LATIN8":     single("LATIN8", charmap.ISO8859_14),
	"LATIN9":     single("LATIN9", charmap.ISO8859_15),
	"LATIN10":    single("LATIN10", charmap.ISO8859_16),
	"ISO_8859_5": single("ISO_8859_5", charmap.ISO8859_5),
	"ISO_8859_6": single("ISO_8859_6", charmap.ISO8859_6),
	"ISO_8859_7": single("ISO_8859_7", charmap.ISO8859_7),
	"ISO_8859_8": single("ISO_8859_8", charmap.ISO8859_8),
	"KOI8R":      single("KOI8R", charmap.KOI8R),
	"KOI8U":      single("KOI8U", charmap.KOI8U),
	"WIN866":     single("WIN866", charmap.CodePage866),
	"WIN874":     single("WIN874", charmap.Windows874),
	"WIN1250":    single("WIN1250", charmap.Windows1250),
	"WIN1251":    single("WIN1251", charmap.Windows1251),
	"WIN1252":    single("WIN1252", charmap.Windows1252),
	"WIN1253":    single("WIN1253", charmap.Windows1253),
	"WIN1254":    single("WIN1254", charmap.Windows1254),
	"WIN1255":    single("WIN1255", charmap.Windows1255),
	"WIN1256":    single("WIN1256", charmap.Windows1256),
	"WIN1257":    single("WIN1257", charmap.Windows1257),
	"WIN1258":    single("WIN1258", charmap.Windows1258),

	"EUC_JP":         {name: "EUC_JP", size: eucSize, letters: japanese.EUCJP, private: true},
	"EUC_JIS_2004":   {name: "EUC_JIS_2004", size: eucSize, letters: japanese.EUCJP, private: true},
	"SJIS":           {name: "SJIS", size: sjisSize, letters: japanese.ShiftJIS, private: true},
	"SHIFT_JIS_2004": {name: "SHIFT_JIS_2004", size: sjisSize, letters: japanese.ShiftJIS, private: true},
	"EUC_CN":         {name: "EUC_CN", size: twoBytes, letters: simplifiedchinese.GBK, private: true},
	"GBK":            {name: "GBK", size: twoBytes, letters: simplifiedchinese.GBK, private: true},
	"GB18030":        {name: "GB18030", size: gb18030Size, letters: simplifiedchinese.GB18030},
	"BIG5":           {name: "BIG5", size: twoBytes, letters: traditionalchinese.Big5, private: true},
	"EUC_TW":         {name: "EUC_TW", size: eucTWSize, private: true},
	"EUC_KR":         {name: "EUC_KR", size: eucSize, letters: korean.EUCKR, private: true},
	"UHC":            {name: "UHC", size: twoBytes, letters: korean.EUCKR, private: true},
	"JOHAB":          {name: "JOHAB", size: eucSize, private: true},
}

func single(name string, letters encoding.Encoding) *Charset {
	return &Charset{name: name, size: oneByte, letters: letters, private: true}
}

// The sizes of characters whose first byte is beyond ASCII.

func oneByte(byte, byte) int { return 1 }

func twoBytes(byte, byte) int { return 2 }

// eucSize is pg_euc_mblen.
func eucSize(first, _ byte) int {
	if first == singleShift3 {
		return 3
	}
	return 2
}

// eucTWSize is pg_euctw_mblen.
func eucTWSize(first, _ byte) int {
	const singleShift2 = 0x8E
	switch first {
	case singleShift2:
		return 4
	case singleShift3:
		return 3
	}
	return 2
}

// sjisSize is pg_sjis_mblen: half-width katakana have one byte.
func sjisSize(first, _ byte) int {
	if first >= 0xA1 && first <= 0xDF {
		return 1
	}
	return 2
}

// gb18030Size is pg_gb18030_mblen.
func gb18030Size(_, second byte) int {
	if second >= '0' && second <= '9' {
		return 4
	}
	return 2
}
