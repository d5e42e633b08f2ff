package process

import (
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/deferd/deferd"
)

const (
	// markVariable says in a process's environment whose it is.
	markVariable = "DEFERD_INSTANCE"

	portVariable = "SAGEMAKER_BIND_TO_PORT"
)

// inherited are the only variables of the server's own environment that a
// model gets to see. The rest may be secrets.
var inherited = []string{"PATH", "LANG", "TZ"}

// environ is the whole environment of a model. Later sources win: the system's
// basics, the image's, the platform's, the model's own. Two are never theirs:
// a model that was told another port than the one that is watched could only
// hang, and the mark must hold.
func environ(image Image, spec deferd.InstanceSpec, d dirs, port int, mark string) []string {
	env := map[string]string{"HOME": d.home, "TMPDIR": d.tmp}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	maps.Copy(env, image.Env)
	maps.Copy(env, spec.PlatformEnv)
	env["SM_MODEL_DIR"] = d.model
	maps.Copy(env, spec.Env)
	env[portVariable] = strconv.Itoa(port)
	env[markVariable] = mark

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
