package manifest

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// dataURL decodes a data: URL: text with %XX escapes, or base64. What it takes, Ignition takes
// with the same meaning. It stands before Ignition's own check, which leaves a goroutine behind
// for each URL that is damaged; so it must never take one that Ignition refuses.
func dataURL(source string) (data []byte, ok bool) {
	head, body, found := strings.Cut(source, ",")
	head, isData := strings.CutPrefix(head, "data:")
	if !found || !isData {
		return nil, false
	}
	if at := strings.IndexByte(head, '"'); at >= 0 {
		// A quoted parameter may hold a comma.
		whole := strings.TrimPrefix(source, "data:")
		end := quotedEnd(whole)
		if end < 0 {
			return nil, false
		}
		head, body = whole[:end], whole[end+1:]
	}
	media, rest, more := strings.Cut(head, ";")
	packed := false
	if !mediaType(media) {
		return nil, false
	}
	for more {
		var p string
		p, rest, more = cutParameter(rest)
		packed = p == "base64" && !more
		if !packed && !parameter(p) {
			return nil, false
		}
	}
	if packed {
		if strings.ContainsRune(body, '\r') {
			return nil, false
		}
		data, err := base64.StdEncoding.DecodeString(body)
		return data, err == nil
	}
	return unescape(body, plainData)
}

// quotedEnd is the place of the first comma outside quotes, -1 where there is none.
func quotedEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return i
		}
	}
	return -1
}

// cutParameter parts the first parameter from the others, which a semicolon outside quotes ends.
func cutParameter(s string) (first, rest string, more bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// mediaType says whether Ignition knows the type. None at all is text.
func mediaType(s string) bool {
	if s == "" {
		return true
	}
	kind, sub, found := strings.Cut(s, "/")
	if !found || !token(kind) || kind == "" || !token(sub) {
		return false
	}
	for _, known := range []string{"text", "image", "audio", "video", "application", "message", "multipart", "x-", "X-"} {
		if strings.HasPrefix(kind, known) {
			return true
		}
	}
	return false
}

// parameter checks name=value, where the value is a token with escapes or a quoted string.
func parameter(s string) bool {
	name, value, found := strings.Cut(s, "=")
	if !found || name == "" || value == "" || !token(name) {
		return false
	}
	if value[0] != '"' {
		_, ok := unescape(value, tokenByte)
		return ok
	}
	for i := range len(value) {
		if value[i] >= 0x80 {
			return false
		}
	}
	unquoted, err := strconv.Unquote(value)
	return err == nil && unquoted != ""
}

// unescape decodes %XX. Every byte must be allowed as it stands.
func unescape(s string, allowed func(byte) bool) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if !allowed(s[i]) {
			return nil, false
		}
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return nil, false
		}
		high, low := digit(s[i+1]), digit(s[i+2])
		if high > 15 || low > 15 {
			return nil, false
		}
		out = append(out, high<<4|low)
		i += 2
	}
	return out, true
}

func digit(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10
	}
	return 0xff
}

func plainData(b byte) bool {
	return b > ' ' && b < 0x7f && strings.IndexByte("<>#\"{}|\\^[]`", b) < 0
}

func tokenByte(b byte) bool {
	return b > ' ' && b < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, b) < 0
}

func token(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return true
}
