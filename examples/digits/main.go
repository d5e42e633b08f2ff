// Command digits is a model as SageMaker's container contract wants it: it
// reads handwritten digits. Run it as "digits serve".
package main

import (
	"os"

	"github.com/deferd/deferd/examples/digits/server"
)

func main() { os.Exit(server.Main(os.Args[1:])) }
