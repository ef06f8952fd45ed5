package git

import (
	"testing"
)

func TestWhatASignatureCovers(t *testing.T) {
	const head, tail = "tree 1\nauthor Ada <a@b> 1 +0000\n", "\nsubject\n\ngpgsig no header\n more\n"
	for _, c := range []struct{ name, raw, payload, signature string }{
		{"no signature", head + tail, head + tail, ""},
		{"a signature over several lines", head + "gpgsig -----A\n b\n \n -----Z\n" + tail, head + tail, "-----A\nb\n\n-----Z\n"},
		{"a header behind it stays", head + "gpgsig A\n b\nencoding x\n y\n" + tail, head + "encoding x\n y\n" + tail, "A\nb\n"},
		{"two signatures come one after the other", head + "gpgsig A\n b\ngpgsig C\n" + tail, head + tail, "A\nb\nC\n"},
		{"the signature for another hash is no part of either", head + "gpgsig-sha256 A\n b\n" + tail, head + tail, ""},
		{"a header that only begins like it", head + "gpgsigs A\n" + tail, head + "gpgsigs A\n" + tail, ""},
		{"no message", head + "gpgsig A\n b", head, "A\nb"},
		{"nothing", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload, signature := unsigned([]byte(c.raw))
			if string(payload) != c.payload || signature != c.signature {
				t.Errorf("payload %q, signature %q; want %q and %q", payload, signature, c.payload, c.signature)
			}
		})
	}
}
