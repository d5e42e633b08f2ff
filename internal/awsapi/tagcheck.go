package awsapi

import (
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// reservedTags is how keys begin that only AWS itself may give, in any case.
const reservedTags = "aws:"

// checkTags refuses tags that no thing can have together: two of one key, whose
// case counts, and keys that are reserved.
func checkTags(tags []awsmodel.Tag) error {
	seen := make(map[string]bool, len(tags))
	for _, tag := range tags {
		key := value(tag.Key)
		if len(key) >= len(reservedTags) && strings.EqualFold(key[:len(reservedTags)], reservedTags) {
			return deferd.Errorf(deferd.Invalid, "aws: prefixed tag key names are not allowed for external use.")
		}
		if seen[key] {
			return deferd.Errorf(deferd.Invalid, "The tag key %q was non-unique within the request.", key)
		}
		seen[key] = true
	}
	return nil
}
