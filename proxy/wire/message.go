package wire

// Types of the messages that a frontend sends: src/include/libpq/protocol.h.
const (
	Bind         byte = 'B'
	Close        byte = 'C'
	Describe     byte = 'D'
	Execute      byte = 'E'
	FunctionCall byte = 'F'
	Flush        byte = 'H'
	Parse        byte = 'P'
	Query        byte = 'Q'
	Sync         byte = 'S'
	Terminate    byte = 'X'
	CopyFail     byte = 'f'
	Password     byte = 'p' // PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse
)

// Types of the messages that a backend sends.
const (
	ParseComplete            byte = '1'
	BindComplete             byte = '2'
	CloseComplete            byte = '3'
	NotificationResponse     byte = 'A'
	CommandComplete          byte = 'C'
	DataRow                  byte = 'D'
	ErrorResponse            byte = 'E'
	CopyInResponse           byte = 'G'
	CopyOutResponse          byte = 'H'
	EmptyQueryResponse       byte = 'I'
	BackendKeyData           byte = 'K'
	NoticeResponse           byte = 'N'
	Authentication           byte = 'R'
	ParameterStatus          byte = 'S'
	RowDescription           byte = 'T'
	FunctionCallResponse     byte = 'V'
	CopyBothResponse         byte = 'W'
	ReadyForQuery            byte = 'Z'
	NoData                   byte = 'n'
	PortalSuspended          byte = 's'
	ParameterDescription     byte = 't'
	NegotiateProtocolVersion byte = 'v'
)

// Types of the messages that both sides send.
const (
	CopyDone byte = 'c'
	CopyData byte = 'd'
)

// What a backend asks for in an Authentication message.
const (
	AuthOk                uint32 = 0
	AuthKerberosV4        uint32 = 1 // no server since 8.2
	AuthKerberosV5        uint32 = 2 // no server since 9.4
	AuthCleartextPassword uint32 = 3
	AuthCryptPassword     uint32 = 4 // no server since 8.4
	AuthMD5Password       uint32 = 5
	AuthSCMCreds          uint32 = 6 // no server since 9.1
	AuthGSS               uint32 = 7
	AuthGSSContinue       uint32 = 8
	AuthSSPI              uint32 = 9
	AuthSASL              uint32 = 10
	AuthSASLContinue      uint32 = 11
	AuthSASLFinal         uint32 = 12
)

// What ReadyForQuery says of the session's transaction.
const (
	TxIdle   byte = 'I'
	TxActive byte = 'T'
	TxFailed byte = 'E'
)
