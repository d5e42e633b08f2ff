package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/deferd/deferd/examples/digits/network"
)

// maxBody is far more than an image takes in any form.
const maxBody = 64 << 10

// Handler returns the routes of the container contract; there are no others.
func Handler(n *network.Network) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /invocations", func(w http.ResponseWriter, r *http.Request) {
		p, err := invoke(n, http.MaxBytesReader(w, r.Body, maxBody), r.Header.Get("Content-Type"))
		if err != nil {
			answer(w, status(err), map[string]string{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, p)
	})
	return mux
}

// errType says that the content type is none that invoke reads.
var errType = errors.New("want text/csv or application/json")

func invoke(n *network.Network, body io.Reader, contentType string) (network.Prediction, error) {
	pixels, err := read(body, contentType)
	if err != nil {
		return network.Prediction{}, err
	}
	return n.Predict(pixels)
}

func read(body io.Reader, contentType string) ([]float64, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("content type %q: %w", contentType, errType)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "text/csv":
		return readCSV(string(data))
	case "application/json":
		return readJSON(data)
	}
	return nil, fmt.Errorf("content type %q: %w", kind, errType)
}

func readCSV(text string) ([]float64, error) {
	fields := strings.Split(strings.TrimSpace(text), ",")
	pixels := make([]float64, len(fields))
	for i, f := range fields {
		p, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil {
			return nil, fmt.Errorf("pixel %d is no number", i)
		}
		pixels[i] = p
	}
	return pixels, nil
}

func readJSON(data []byte) ([]float64, error) {
	var image struct {
		Pixels []float64 `json:"pixels"`
	}
	if err := json.Unmarshal(data, &image); err != nil {
		return nil, fmt.Errorf("the body is no image: %w", err)
	}
	return image.Pixels, nil
}

// status says what is wrong: nothing but the request can be.
func status(err error) int {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge
	}
	if errors.Is(err, errType) {
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// answer writes v as JSON. A client that has gone does not want to know.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
