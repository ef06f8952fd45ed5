package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is whom the controller runs as. The agent is root by what its DaemonSet says.
const user = "65532:65532"

// content is one thing in the image.
type content struct {
	path string // with a slash at its end: a directory
	mode int64
	data []byte
}

// furniture is what the image has beside the binaries: roots for TLS, a name for the user, and a
// place for temporary files. There is no shell.
func furniture() []content {
	return []content{
		{"etc/", 0o755, nil},
		{"etc/group", 0o444, []byte("root:x:0:\nsluice:x:65532:\n")},
		{"etc/passwd", 0o444, []byte("root:x:0:0:root:/:/none\nsluice:x:65532:65532:sluice:/:/none\n")},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o444, certificates()},
		{"tmp/", 0o1777, nil},
	}
}

// certificates are the roots that Mozilla trusts, at the version that go.mod pins. Those that it
// trusts under a condition are left out: a file of certificates cannot say it.
func certificates() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return out.Bytes()
}

// pack is a layer, uncompressed.
func pack(all []content, made time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, c := range all {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: c.path, Mode: c.mode, Size: int64(len(c.data)), ModTime: made, Format: tar.FormatPAX}
		if c.path[len(c.path)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", c.path, err)
		}
		if _, err := w.Write(c.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", c.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// writeTree writes the furniture below a directory.
func writeTree(dir string) error {
	for _, c := range furniture() {
		at := filepath.Join(dir, c.path)
		if c.data == nil {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		} else if err := os.WriteFile(at, c.data, 0o644); err != nil {
			return err
		}
		mode := fs.FileMode(c.mode & 0o777)
		if c.mode&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		if err := os.Chmod(at, mode); err != nil {
			return err
		}
	}
	return nil
}
