package policy

import (
	"slices"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
)

// strangers are the probes that an expression reads although they are not there, sorted. To read one of
// them is an error each time: the gate would be closed for ever. One that the expression asks for
// first, by has() or in, may be missing; of a name that is put together while it is evaluated, and where
// the probes are gone through one by one, nothing is known. Zones and pools are no names of the policy: nodes come and go.
func strangers(text string, there []string) []string {
	parsed, err := parse(text)
	if err != nil {
		return nil // which is a mistake of its own
	}
	var read, asked []string
	blind := false
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind: // probes.NAME, has(probes.NAME)
			switch s := e.AsSelect(); {
			case !isProbes(s.Operand()):
			case s.IsTestOnly():
				asked = append(asked, s.FieldName())
			default:
				read = append(read, s.FieldName())
			}
		case ast.CallKind: // probes["NAME"], "NAME" in probes
			switch args, name := e.AsCall().Args(), e.AsCall().FunctionName(); {
			case name == operators.Index && isProbes(args[0]):
				read = append(read, word(args[1]))
			case name == operators.In && isProbes(args[1]):
				asked = append(asked, word(args[0]))
			}
		case ast.ComprehensionKind: // probes.exists(NAME, ...) may ask for any; and another list may call its own things probes
			loop := e.AsComprehension()
			blind = blind || isProbes(loop.IterRange()) || slices.Contains([]string{loop.IterVar(), loop.IterVar2()}, "probes")
		default: // names no probe
		}
	}))
	if blind {
		return nil
	}
	slices.Sort(read)
	return slices.DeleteFunc(slices.Compact(read), func(name string) bool {
		return name == "" || slices.Contains(there, name) || slices.Contains(asked, name)
	})
}

func isProbes(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "probes" }

// word is a text that stands in the expression; "" for all else.
func word(e ast.Expr) string {
	if e.Kind() != ast.LiteralKind {
		return ""
	}
	text, _ := e.AsLiteral().Value().(string)
	return text
}
