//go:build wasip1

package tidegate

import (
	"errors"

	lookups "tidegate/bindings/tidegate_plugin_lookup"
)

func init() {
	host.lookup = func(table, key string) (string, bool, error) {
		found := lookups.Get(table, key)
		if found.IsErr() {
			return "", false, errors.New(found.Err())
		}
		entry := found.Ok()
		return entry.SomeOr(""), entry.IsSome(), nil
	}
}
