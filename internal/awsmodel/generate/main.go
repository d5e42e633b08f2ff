// Command generate writes package awsmodel's types and validators from AWS's
// service models, and trims those models to the operations that are served.
//
//	go run ./generate [-out DIR]                    models/*.json → *_gen.go
//	go run ./generate -trim DATA -version VERSION   botocore's data folder → models/*.json
//
// It runs in the folder of package awsmodel.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	models := flag.String("models", "models", "folder of the trimmed models")
	out := flag.String("out", ".", "folder that the Go files are written to")
	data := flag.String("trim", "", "trim the models found in this folder of botocore's data instead")
	version := flag.String("version", "", "with -trim: the version of botocore")
	flag.Parse()

	err := func() error {
		if *data != "" {
			return trim(*data, *version, *models)
		}
		return generate(*models, *out)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
