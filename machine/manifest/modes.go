package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// usual are the modes that people give to files and directories.
var usual = []int64{
	0o400, 0o440, 0o444, 0o500, 0o550, 0o555, 0o600, 0o640, 0o644, 0o660, 0o664, 0o666,
	0o700, 0o711, 0o740, 0o750, 0o755, 0o770, 0o775, 0o777,
}

// misread says which mode was probably meant where octal digits were written as a decimal
// number: 777 is read as 01411, and 0777 was meant.
func misread(mode int) (meant string, probably bool) {
	digits := strconv.Itoa(mode)
	octal, err := strconv.ParseInt(digits, 8, 32)
	if err != nil || !slices.Contains(usual, octal) || slices.Contains(usual, int64(mode)) {
		return "", false
	}
	return fmt.Sprintf("0%s (decimal %d)", digits, octal), true
}

// quotedMode says what to write in the place of a mode that is a string. Without the 0 of octal
// digits it may have been meant as a decimal number.
func quotedMode(s string) string {
	decimal, err := strconv.ParseInt(s, 10, 12)
	if err == nil && s[0] != '0' && slices.Contains(usual, decimal) {
		return fmt.Sprintf("is a string: write the number %#o (decimal %d)", decimal, decimal)
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0o"), 8, 12)
	if err != nil {
		return "is a string, expected a number such as 0644 (decimal 420)"
	}
	return fmt.Sprintf("is a string: write the number %#o (decimal %d)", n, n)
}

// tooLarge says why a mode is refused: MCO main keeps permission bits only.
func tooLarge(mode int) string {
	if meant, probably := misread(mode); probably {
		return fmt.Sprintf("%d is decimal, and more than 0777 (decimal 511): write %s if that was meant", mode, meant)
	}
	return fmt.Sprintf("%#o is not between 0 and 0777: setuid, setgid and sticky bits are not kept", mode)
}
