package walk;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.sagemakerruntime.model.InvokeEndpointAsyncRequest;
import software.amazon.awssdk.services.sagemakerruntime.model.InvokeEndpointAsyncResponse;
import software.amazon.awssdk.services.sagemakerruntime.model.InvokeEndpointWithResponseStreamResponseHandler;
import software.amazon.awssdk.services.sagemakerruntime.model.ValidationErrorException;

/** The steps of the runtime. */
final class Invocations {
    private static final SdkBytes X = SdkBytes.fromUtf8String("x");

    private final Clients c;
    private final Control control;
    private final Storage storage;

    Invocations(Clients c, Control control, Storage storage) {
        this.c = c;
        this.control = control;
        this.storage = storage;
    }

    private InvokeEndpointAsyncResponse invoke(Consumer<InvokeEndpointAsyncRequest.Builder> members) {
        InvokeEndpointAsyncResponse answer =
                c.runtime.invokeEndpointAsync(r -> members.accept(r.endpointName(c.name)));
        Check.equal(answer.sdkHttpResponse().statusCode(), 202);
        Check.that(answer.responseMetadata().requestId().length() == 36, answer.responseMetadata());
        Check.that(!answer.inferenceId().isEmpty(), answer);
        Check.contains(answer.outputLocation(), storage.locationOf(""));
        Check.contains(answer.failureLocation(), storage.locationOf("failed/"));
        return answer;
    }

    private InvokeEndpointAsyncResponse invoke(String text, String type, String attributes) {
        return invoke(r -> r.body(SdkBytes.fromUtf8String(text)).contentType(type).customAttributes(attributes));
    }

    private void expect(String location, String text, String type) {
        Check.equal(storage.awaitText(location), new Storage.Found(text, type));
    }

    void s3() {
        storage.put("in/small.json", "{\"a\": 1}", null);
        storage.put("in/typed.csv", "1,2,3", "text/csv");
        var small = invoke(r -> r.inputLocation(storage.locationOf("in/small.json")).contentType("application/json"));
        var typed = invoke(r -> r.inputLocation(storage.locationOf("in/typed.csv")));
        var large = invoke(r -> r.inputLocation(storage.locationOf(Storage.LARGE)));
        expect(small.outputLocation(), "{\"a\": 1}", "application/json");
        expect(typed.outputLocation(), "1,2,3", "text/csv");
        storage.await(large.outputLocation());
        storage.largeOutput(large.outputLocation());
    }

    void inline() throws Exception {
        SdkBytes most = SdkBytes.fromByteArray(storage.beginning(128_000));
        var text = invoke("some text", "text/plain", null);
        var whole = invoke(r -> r.body(most).contentType("image/x-raw"));
        expect(text.outputLocation(), "some text", "text/plain");
        storage.await(whole.outputLocation());
        Check.that(
                SdkBytes.fromByteArray(storage.get(whole.outputLocation()).asByteArray()).equals(most),
                "another output than the input");
    }

    /** Says all that can be said of an invocation. The model answers with what came to it. */
    void named() {
        var answer =
                invoke(r -> r.body(SdkBytes.fromUtf8String("{}"))
                        .contentType("application/json")
                        .accept("application/xml")
                        .customAttributes("report=1")
                        .inferenceId("my own id")
                        .filename("result.json")
                        .s3OutputPathExtension("team/a")
                        .requestTTLSeconds(600)
                        .invocationTimeoutSeconds(30));
        Check.equal(answer.inferenceId(), "my own id");
        Check.equal(answer.outputLocation(), storage.locationOf("out/team/a/result.json"));
        Storage.Found report = storage.awaitText(answer.outputLocation());
        Check.equal(report.type(), "application/json");
        Check.contains(report.text(), "\"Content-Type\":[\"application/json\"]");
        Check.contains(report.text(), "\"Accept\":[\"application/xml\"]");
        Check.contains(report.text(), "\"X-Amzn-Sagemaker-Custom-Attributes\":[\"report=1\"]");
        Check.contains(report.text(), "\"X-Amzn-Sagemaker-Inference-Id\":[\"my own id\"]");
    }

    /** Looks for a result that is not there before it is there. */
    void poll() throws Exception {
        var answer = invoke("later", "text/plain", "delay=1s");
        storage.checkMissing(answer.outputLocation());
        expect(answer.outputLocation(), "later", "text/plain");
        storage.checkMissing(answer.failureLocation());
    }

    void failure() throws Exception {
        for (int status : List.of(400, 500)) {
            var answer = invoke("{\"why\": 1}", "application/json", "status=" + status);
            expect(answer.failureLocation(), "{\"why\": 1}", "application/json");
            storage.checkMissing(answer.outputLocation());
        }
        var answer = invoke(r -> r.inputLocation(storage.locationOf("in/nothing")));
        Check.contains(storage.awaitText(answer.failureLocation()).text(), "NoSuchKey");
    }

    void refusals() throws Exception {
        String location = storage.locationOf("in/small.json");
        Map<Consumer<InvokeEndpointAsyncRequest.Builder>, String> cases = new LinkedHashMap<>();
        cases.put(
                r -> r.endpointName("nobody").body(X),
                "Endpoint nobody of account " + control.account() + " not found.");
        cases.put(r -> r.body(X).inputLocation(location), "");
        cases.put(r -> {}, "");
        cases.put(r -> r.body(SdkBytes.fromByteArray(new byte[128_001])), "");
        cases.put(r -> r.body(X).inferenceId("i".repeat(65)), "'inferenceId' failed to satisfy constraint");
        cases.put(r -> r.body(X).filename("a.b.c"), "'filename' failed to satisfy constraint");
        cases.put(r -> r.inputLocation("ftp://host/file"), "'inputLocation' failed to satisfy constraint");
        cases.put(r -> r.body(X).invocationTimeoutSeconds(3601), "1 validation error detected");
        for (var entry : cases.entrySet()) {
            var e = Check.refused(ValidationErrorException.class, () -> invoke(entry.getKey()));
            Check.equal(e.awsErrorDetails().errorCode(), "ValidationError");
            Check.contains(e.awsErrorDetails().errorMessage(), entry.getValue());
            Check.equal(e.statusCode(), 400);
            Check.equal(e.requestId().length(), 36);
        }
        var e =
                Check.refused(
                        ValidationErrorException.class,
                        () -> c.runtime.invokeEndpoint(r -> r.endpointName(c.name).body(X)));
        Check.contains(e.awsErrorDetails().errorMessage(), "does not support this inference type");
        e = Check.refused(ValidationErrorException.class, () -> stream().get());
        Check.contains(e.awsErrorDetails().errorMessage(), "does not support this inference type");
    }

    private CompletableFuture<Void> stream() {
        return c.streaming.invokeEndpointWithResponseStream(
                r -> r.endpointName(c.name).body(X),
                InvokeEndpointWithResponseStreamResponseHandler.builder()
                        .subscriber(part -> {})
                        .build());
    }

    /** Changes the configuration while an invocation runs, and then the number of instances. */
    void update() {
        var before = invoke("old", "text/plain", "delay=1s");
        control.updateConfig();
        var after = invoke("new", "text/plain", null);
        Check.contains(before.outputLocation(), storage.locationOf("out/"));
        Check.contains(after.outputLocation(), storage.locationOf("next/"));
        expect(before.outputLocation(), "old", "text/plain");
        expect(after.outputLocation(), "new", "text/plain");
        control.updateCapacity();
    }
}
