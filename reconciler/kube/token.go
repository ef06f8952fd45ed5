package kube

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// claims says that a token says of itself that it is an account's, for our audience. Nothing is
// permitted by it: it spares the API server what anybody can send. Tokens of accounts are JSON web
// tokens, whose second part is readable.
func claims(token, account string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var said struct {
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(payload, &said) != nil || said.Subject != account {
		return false
	}
	var one string
	var many []string
	return json.Unmarshal(said.Audience, &many) == nil && slices.Contains(many, audience) ||
		json.Unmarshal(said.Audience, &one) == nil && one == audience
}
