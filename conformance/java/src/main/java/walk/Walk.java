package walk;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import software.amazon.awssdk.core.util.VersionInfo;

/**
 * Walks through the life of an asynchronous endpoint with the AWS SDK for Java, as its users do.
 *
 * <p>All that it knows of the server is what the AWS_ variables of its environment say;
 * DEFERD_WALK_NAME and DEFERD_WALK_IMAGE say what to call things and what to run. The first step
 * that is not as on SageMaker ends the program.
 */
public final class Walk {
    private Walk() {}

    interface Step {
        void run() throws Exception;
    }

    public static void main(String[] args) {
        System.out.println("client aws-sdk-java-v2 " + VersionInfo.SDK_VERSION);
        Clients clients = new Clients();
        Control control = new Control(clients);
        Storage storage = new Storage(clients);
        Invocations invocations = new Invocations(clients, control, storage);

        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("identity", control::identity);
        steps.put("create", () -> {
            storage.createBucket();
            control.create();
        });
        steps.put("wait", control::awaitInService);
        steps.put("upload", storage::upload);
        steps.put("invoke-s3", invocations::s3);
        steps.put("invoke-inline", invocations::inline);
        steps.put("invoke-named", invocations::named);
        steps.put("poll", invocations::poll);
        steps.put("failure", invocations::failure);
        steps.put("refusals", invocations::refusals);
        steps.put("presign", storage::presign);
        steps.put("list", () -> {
            control.list();
            storage.list();
        });
        steps.put("tags", control::tags);
        steps.put("update", invocations::update);
        steps.put("download", storage::download);
        steps.put("copy", storage::copy);
        steps.put("delete-objects", storage::deleteAll);
        steps.put("delete", control::deleteAll);
        steps.forEach(Walk::run);
        System.exit(0); // or the clients' threads keep it alive for a while
    }

    private static void run(String name, Step step) {
        long started = System.nanoTime();
        try {
            step.run();
        } catch (Exception | AssertionError e) {
            e.printStackTrace();
            System.out.printf("step %s failed %s%n", name, e.toString().replaceAll("\\s+", " "));
            System.exit(1);
        }
        System.out.printf(Locale.ROOT, "step %s ok %.1f%n", name, (System.nanoTime() - started) / 1e9);
    }
}
