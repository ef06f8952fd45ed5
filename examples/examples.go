// Package examples holds complete fleet repositories, and gives them to whoever wants to show
// one. Each is tested here, since an example that is not tested is a lie.
package examples

import "embed"

// Quickstart is one base and two pools, with the nodes that it is meant for.
//
//go:embed quickstart
var Quickstart embed.FS

// ThreePools is one MachineConfig and three pools that patch one file of it each.
//
//go:embed three-pools
var ThreePools embed.FS
