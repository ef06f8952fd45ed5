//go:build ignore

// The cut program makes github-api.json: GitHub's own OpenAPI document, cut to the operations
// that Sluice uses, with every reference that they need and without prose. Made with
//
//	npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
//	go run cut.go <package/generated/api.github.com.json >github-api.json
//
// The document is under the MIT licence, see github-api.LICENSE.
package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"
)

var operations = map[string][]string{
	"/user": {"get"},
	"/orgs/{org}/teams/{team_slug}/memberships/{username}": {"get"},
	"/repos/{owner}/{repo}/pulls":                          {"get"},
	"/repos/{owner}/{repo}/statuses/{sha}":                 {"post"},
	"/repos/{owner}/{repo}/commits/{ref}/statuses":         {"get"},
	"/repos/{owner}/{repo}/commits/{ref}/status":           {"get"},
	"/repos/{owner}/{repo}/commits/{commit_sha}/pulls":     {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}":            {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}/reviews":    {"get"},
	"/repos/{owner}/{repo}/issues/{issue_number}/comments": {"get", "post"},
	"/repos/{owner}/{repo}/issues/comments/{comment_id}":   {"get", "patch"},
}

type object = map[string]any

func main() {
	var doc object
	if err := json.NewDecoder(os.Stdin).Decode(&doc); err != nil {
		log.Fatal(err)
	}
	paths := object{}
	for path, methods := range operations {
		from, to := doc["paths"].(object)[path].(object), object{}
		for _, method := range methods {
			to[method] = from[method]
		}
		if shared, ok := from["parameters"]; ok {
			to["parameters"] = shared
		}
		paths[path] = bare(to, "")
	}
	components := object{}
	closeReferences(paths, doc["components"].(object), components)

	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(object{
		"openapi":    doc["openapi"],
		"info":       object{"title": "GitHub REST API, cut to what Sluice uses", "version": "23.0.2", "license": object{"name": "MIT"}},
		"paths":      paths,
		"components": components,
	}); err != nil {
		log.Fatal(err)
	}
}

// closeReferences copies into to everything that node names, and what that names in turn.
func closeReferences(node any, from, to object) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			closeReferences(item, from, to)
		}
	case object:
		if ref, ok := node["$ref"].(string); ok {
			parts := strings.Split(ref, "/") // #/components/KIND/NAME
			kind, name := parts[2], parts[3]
			if to[kind] == nil {
				to[kind] = object{}
			}
			if _, done := to[kind].(object)[name]; done {
				return
			}
			found := bare(object{name: from[kind].(object)[name]}, kind).(object)[name]
			to[kind].(object)[name] = found
			closeReferences(found, from, to)
			return
		}
		for _, item := range node {
			closeReferences(item, from, to)
		}
	}
}

// bare drops the prose. Below "properties" and its like the keys are names, not keywords.
func bare(node any, parent string) any {
	switch node := node.(type) {
	case []any:
		for i := range node {
			node[i] = bare(node[i], "")
		}
	case object:
		names := parent == "properties" || parent == "schemas" || parent == "responses" || parent == "parameters"
		for key, item := range node {
			prose := strings.HasPrefix(key, "x-")
			switch key {
			case "description", "summary", "title", "example", "examples", "externalDocs", "tags", "headers", "links", "default":
				prose = true
			}
			if prose && !names {
				delete(node, key)
				continue
			}
			if names {
				node[key] = bare(item, "")
				if answer, ok := node[key].(object); ok && parent == "responses" && answer["$ref"] == nil {
					answer["description"] = "" // must be there
				}
			} else {
				node[key] = bare(item, key)
			}
		}
	}
	return node
}
