package tidegate

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"
)

var (
	e164         = regexp.MustCompile(`^\+[1-9]\d{7,14}$`)
	phoneMarks   = regexp.MustCompile(`[\s\-.()\[\]]`)
	email        = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s.]+$`)
	hex64        = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	zipPlusFour  = regexp.MustCompile(`^\d{5}-\d{4}$`)
	twoLetters   = regexp.MustCompile(`^[a-z]{2}$`)
	dateOfBirth  = regexp.MustCompile(`^(\d{4})-?(\d\d)-?(\d\d)(T.*)?$`)
	notInZipCode = regexp.MustCompile(`[\s-]`)
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

// ofWord is a letter, a digit or what belongs to a letter, in any script; -1 for anything else.
func ofWord(letter rune) rune {
	if unicode.In(letter, unicode.L, unicode.M, unicode.Nd) {
		return letter
	}
	return -1
}

func normalized(text string, kind PersonalKind) string {
	lower := strings.ToLower(text)
	switch kind {
	case HashEmail:
		return Email(lower)
	case HashPhone:
		return strings.TrimPrefix(Phone(text), "+")
	case HashName, HashCity, HashState:
		return strings.Map(ofWord, lower)
	case HashZip:
		if zipPlusFour.MatchString(lower) {
			lower = lower[:5]
		}
		return notInZipCode.ReplaceAllString(lower, "")
	case HashCountry:
		return twoLetters.FindString(lower)
	case HashGender:
		return map[string]string{"f": "f", "female": "f", "m": "m", "male": "m"}[lower]
	case HashBirth:
		found := dateOfBirth.FindStringSubmatch(text)
		if found == nil || found[2] < "01" || found[2] > "12" || found[3] < "01" || found[3] > "31" {
			return ""
		}
		return found[1] + found[2] + found[3]
	default:
		return lower
	}
}
