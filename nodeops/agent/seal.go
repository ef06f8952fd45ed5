package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// format is the version of what is sealed. An agent that finds another one writes nothing.
const format = 1

type sealed struct {
	Format int             `json:"format"`
	Sum    string          `json:"sha256"`
	Body   json.RawMessage `json:"body"`
}

// Seal encodes a value so that Unseal finds any damage to it.
func Seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{format, sum(body), body})
}

// Unseal decodes what Seal wrote. Whatever else it is given is an error, and into stays as it is.
func Unseal(data []byte, into any) error {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("is damaged: %w", err)
	}
	if s.Format != format {
		return fmt.Errorf("is of format %d, expected %d", s.Format, format)
	}
	if sum(s.Body) != s.Sum {
		return fmt.Errorf("is damaged: its checksum is wrong")
	}
	return json.Unmarshal(s.Body, into)
}

func sum(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}
