package tidegate

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"
)

var (
	// `\s` is white space of ASCII alone.
	phoneMarks  = regexp.MustCompile(`[\s\v\x{85}\p{Z}\-.()\[\]]`)
	email       = regexp.MustCompile(`^[^@\s\v\x{85}\p{Z}]+@[^@\s\v\x{85}\p{Z}]+\.[^@\s\v\x{85}\p{Z}.]+$`)
	e164        = regexp.MustCompile(`^\+[1-9]\d{7,14}$`)
	hex64       = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	zipPlusFour = regexp.MustCompile(`^(\d{5})[-\x{2010}-\x{2015}]\d{4}$`)
	twoLetters  = regexp.MustCompile(`^[a-z]{2}$`)
	dateOfBirth = regexp.MustCompile(`(?s)^(\d{4})([-/. ]?)(\d\d)([-/. ]?)(\d\d)([t ].*)?$`)
)

// Phone is a phone number as E.164, such as "+15550100200". "" when it names no country: none is ever assumed.
func Phone(value any) string {
	text, _ := value.(string)
	// The zero in +49 (0) 30 is dialled at home only.
	text = phoneMarks.ReplaceAllString(strings.Replace(text, "(0)", "", 1), "")
	if digits, international := strings.CutPrefix(text, "00"); international {
		text = "+" + digits
	}
	if !e164.MatchString(text) {
		return ""
	}
	return text
}

// Email is an email address without the white space around it; "" for anything that is none.
func Email(value any) string {
	text, _ := value.(string)
	// Most texts that are asked about have none, and that is soon seen.
	if !strings.Contains(text, "@") {
		return ""
	}
	if text = strings.TrimSpace(text); email.MatchString(text) {
		return text
	}
	return ""
}

// PersonalKind is how a personal text is normalised before it is hashed.
type PersonalKind string

// The kinds of personal data.
const (
	HashEmail   PersonalKind = "email"
	HashPhone   PersonalKind = "phone"
	HashName    PersonalKind = "name"
	HashCity    PersonalKind = "city"
	HashState   PersonalKind = "state"
	HashZip     PersonalKind = "zip"
	HashCountry PersonalKind = "country"
	HashGender  PersonalKind = "gender"
	HashBirth   PersonalKind = "dob"
	HashID      PersonalKind = "id"
)

// Hashed is the SHA-256 of a personal text in lower-case hexadecimal, normalised for its kind. What already is 64
// hexadecimal digits is a hash and only brought into lower case. "" when there is nothing to hash, or when it is none of
// its kind: a phone number without a country, a country that is no code of two letters.
func Hashed(value any, kind PersonalKind) string {
	text := strings.TrimSpace(ID(value))
	if hex64.MatchString(text) {
		return strings.ToLower(text)
	}
	if text = normalized(text, kind); text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ofWord is a letter or digit of any script, or a mark on one; -1 for white space, punctuation, symbols and all else.
func ofWord(letter rune) rune {
	if unicode.In(letter, unicode.L, unicode.M, unicode.N) {
		return letter
	}
	return -1
}

// toLower is text in small letters as Unicode has it in full, and as other languages do it: where strings.ToLower goes letter
// by letter, a sigma at the end of a word is another one, and the dot of an İ stays.
func toLower(text string) string {
	if !strings.ContainsAny(text, "Σİ") {
		return strings.ToLower(text)
	}
	letters, lower := []rune(text), strings.Builder{}
	for i, letter := range letters {
		switch {
		case letter == 'İ':
			lower.WriteString("i\u0307")
		case letter == 'Σ' && besideLetter(letters, i, -1) && !besideLetter(letters, i, +1):
			lower.WriteRune('ς')
		default:
			lower.WriteRune(unicode.ToLower(letter))
		}
	}
	return lower.String()
}

// besideLetter says whether a letter that has a case is next to the one at i, going by step; marks and the like between them
// do not count.
func besideLetter(letters []rune, i, step int) bool {
	for i += step; i >= 0 && i < len(letters); i += step {
		between := unicode.In(letters[i], unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
		if !between && !strings.ContainsRune("'.:··՟״‘’․‧︓﹒﹕＇．：", letters[i]) {
			return unicode.In(letters[i], unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Uppercase, unicode.Other_Lowercase)
		}
	}
	return false
}

func normalized(text string, kind PersonalKind) string {
	lower := toLower(text)
	switch kind {
	case HashEmail:
		return Email(lower)
	case HashPhone:
		return strings.TrimPrefix(Phone(text), "+")
	case HashName, HashCity, HashState:
		return strings.Map(ofWord, lower)
	case HashZip:
		if found := zipPlusFour.FindStringSubmatch(lower); found != nil {
			return found[1]
		}
		return strings.Map(ofWord, lower)
	case HashCountry:
		return twoLetters.FindString(lower)
	case HashGender:
		return map[string]string{"f": "f", "female": "f", "m": "m", "male": "m"}[lower]
	case HashBirth:
		found := dateOfBirth.FindStringSubmatch(lower)
		if found == nil || found[2] != found[4] || found[3] < "01" || found[3] > "12" || found[5] < "01" || found[5] > "31" {
			return ""
		}
		return found[1] + found[3] + found[5]
	default:
		return lower
	}
}
