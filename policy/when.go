package policy

import (
	"fmt"
	"strings"
	"time"
)

// window is a time of the week, as in "mon-fri 08:00-18:00 Europe/Berlin".
type window struct {
	days     [7]bool       // by time.Weekday
	from, to time.Duration // since midnight; where to is not after from, it is of the next day
	zone     *time.Location
}

// when is a time of the week: days, hours and a time zone, each of which may be left out.
func when(value string) (condition, error) {
	w, err := parseWindow(value)
	if err != nil {
		return nil, err
	}
	return func(s *Session, _ *Action) answer { return answerOf(w.holds(s.Time)) }, nil
}

const day = 24 * time.Hour

func parseWindow(value string) (window, error) {
	w := window{days: [7]bool{true, true, true, true, true, true, true}, to: day, zone: time.UTC}
	mistake := fmt.Errorf(`"%s" is no time of the week like mon-fri 08:00-18:00 Europe/Berlin`, value)
	words := strings.Fields(value)
	if len(words) == 0 {
		return w, mistake
	}
	if days, ok := parseDays(words[0]); ok {
		w.days, words = days, words[1:]
	}
	if len(words) > 0 && strings.Contains(words[0], ":") {
		from, to, ok := parseHours(words[0])
		if !ok {
			return w, mistake
		}
		w.from, w.to, words = from, to, words[1:]
	}
	if len(words) > 0 {
		zone, err := time.LoadLocation(words[0])
		if err != nil || words[0] == "Local" || len(words) > 1 {
			return w, mistake
		}
		w.zone = zone
	}
	return w, nil
}

// parseDays reads mon, mon-fri, sat,sun.
func parseDays(word string) (days [7]bool, ok bool) {
	for part := range strings.SplitSeq(word, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, known := weekday(first)
		to, known2 := weekday(last)
		if !known || !known2 {
			return days, false
		}
		for d := from; ; d = (d + 1) % 7 {
			days[d] = true
			if d == to {
				break
			}
		}
	}
	return days, true
}

func weekday(word string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(word, d.String()[:3]) {
			return d, true
		}
	}
	return 0, false
}

// parseHours reads 08:00-18:00.
func parseHours(word string) (from, to time.Duration, ok bool) {
	first, last, isRange := strings.Cut(word, "-")
	from, known := clock(first)
	to, known2 := clock(last)
	return from, to, isRange && known && known2 && from < day
}

// clock reads an hour and a minute, up to 24:00.
func clock(word string) (time.Duration, bool) {
	if word == "24:00" {
		return day, true
	}
	t, err := time.Parse("15:04", word)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err == nil
}

// holds reports whether a time is in the window. What passes midnight belongs to the day that it begins on.
func (w *window) holds(t time.Time) bool {
	t = t.In(w.zone)
	today, yesterday := t.Weekday(), (t.Weekday()+6)%7
	now := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	if w.from < w.to {
		return w.days[today] && w.from <= now && now < w.to
	}
	return w.days[today] && w.from <= now || w.days[yesterday] && now < w.to
}
