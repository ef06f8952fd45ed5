package manifest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/ignition/v2/config/v3_5/types"
)

// maxContents bounds one file after decompression, so that a few bytes cannot fill a node.
const maxContents = 16 << 20

// decode reads what a resource holds: a data: URL, plain or gzip. Nothing is ever fetched. wrong is
// why it cannot, by the field of the resource and without contents; nil when it can.
func decode(r types.Resource) (contents []byte, wrong *Error) {
	refuse := func(field, why string) ([]byte, *Error) { return nil, &Error{field, why} }
	if r.Source == nil || *r.Source == "" {
		return []byte{}, nil
	}
	if !strings.HasPrefix(*r.Source, "data:") {
		scheme, _, _ := strings.Cut(*r.Source, ":")
		if !slices.Contains([]string{"http", "https", "s3", "gs", "arn", "tftp"}, scheme) {
			scheme = "this" // it may be contents, and those may be secret
		}
		return refuse("source", "only data: URLs are read, "+scheme+" is not one: put the contents into the manifest")
	}
	contents, ok := dataURL(*r.Source)
	if !ok {
		return refuse("source", "is not a valid data: URL")
	}
	if r.Compression != nil && *r.Compression == "gzip" {
		unpacked, why := gunzip(contents)
		if why != "" {
			return refuse("source", why)
		}
		contents = unpacked
	} else if r.Compression != nil && *r.Compression != "" {
		return refuse("compression", "only gzip is read")
	}
	if len(contents) > maxContents {
		return refuse("source", "is larger than 16 MiB")
	}
	if !verified(contents, r.Verification) {
		return refuse("verification.hash", "does not fit the contents")
	}
	if contents == nil {
		contents = []byte{} // an empty file has one encoding
	}
	return contents, nil
}

func gunzip(packed []byte) ([]byte, string) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, "is not gzip, though compression says so"
	}
	out, err := io.ReadAll(io.LimitReader(z, maxContents+1))
	if err != nil {
		return nil, "holds a gzip stream that is damaged"
	}
	return out, ""
}

func verified(contents []byte, v types.Verification) bool {
	if v.Hash == nil || *v.Hash == "" {
		return true
	}
	function, want, _ := strings.Cut(*v.Hash, "-")
	var sum []byte
	switch function {
	case "sha256":
		s := sha256.Sum256(contents)
		sum = s[:]
	case "sha512":
		s := sha512.Sum512(contents)
		sum = s[:]
	}
	return strings.EqualFold(hex.EncodeToString(sum), want)
}

// encode is the inverse of decode: text stays readable, anything else is base64.
func encode(contents []byte) *string {
	source := "data:,"
	if text(contents) {
		source += escape(contents)
	} else {
		source = "data:;base64," + base64.StdEncoding.EncodeToString(contents)
	}
	return &source
}

// escape leaves every byte alone that may stand in a data: URL and does not begin an escape.
func escape(contents []byte) string {
	const plain = "-_.~!*'()=:/,;@&$+?"
	var out strings.Builder
	for _, b := range contents {
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if letter || strings.IndexByte(plain, b) >= 0 {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

func text(contents []byte) bool {
	return utf8.Valid(contents) && !bytes.ContainsFunc(contents, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	})
}
