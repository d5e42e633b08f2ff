"""Finds the nearest centroid: takes text/libsvm, answers a label a line.

A model with SageMaker's container contract. Its data is centroids.json: for
each label the values that its examples have on average.
"""

import http.server
import json
import os
import pathlib
import signal
import threading


class Centroids:
    def __init__(self, directory):
        self.centroids = json.loads((directory / "centroids.json").read_text(encoding="utf-8"))

    def predict(self, line):
        """Reads "label index:value ...", where indices begin at 1 and zeros are left out."""
        values = {}
        for pair in line.split()[1:]:
            index, value = pair.split(":")
            values[int(index)] = float(value)

        def distance(label):
            return sum((c - values.get(i, 0)) ** 2 for i, c in enumerate(self.centroids[label], 1))

        return min(self.centroids, key=distance)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/ping" else 404, "")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode(errors="replace")
        if self.path != "/invocations":
            self.answer(404, "not found")
        elif self.headers.get_content_type() != "text/libsvm":
            self.answer(415, f"the input is {self.headers.get_content_type()}, want text/libsvm")
        else:
            try:
                self.answer(200, "\n".join(map(self.server.model.predict, text.splitlines())))
            except ValueError as error:
                self.answer(400, f"this is not libsvm: {error}")

    def answer(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, *_):
        pass  # errors are worth a line, pings are not


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for those that still answer


def main():
    model = Centroids(pathlib.Path(os.environ["SM_MODEL_DIR"]))
    server = Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    server.model = model
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
