package walk;

import java.time.Duration;
import software.amazon.awssdk.core.waiters.WaiterOverrideConfiguration;
import software.amazon.awssdk.retries.api.BackoffStrategy;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.waiters.S3Waiter;
import software.amazon.awssdk.services.sagemaker.SageMakerClient;
import software.amazon.awssdk.services.sagemaker.waiters.SageMakerWaiter;
import software.amazon.awssdk.services.sagemakerruntime.SageMakerRuntimeAsyncClient;
import software.amazon.awssdk.services.sagemakerruntime.SageMakerRuntimeClient;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/** What a user of AWS has: the clients of its SDK, made from the environment and nothing else. */
final class Clients {
    static final Duration PATIENCE = Duration.ofSeconds(60);

    final String name = environment("DEFERD_WALK_NAME");
    final String image = environment("DEFERD_WALK_IMAGE");
    final String bucket = name;

    final StsClient sts = StsClient.create();
    final SageMakerClient sagemaker = SageMakerClient.create();
    final SageMakerRuntimeClient runtime = SageMakerRuntimeClient.create();
    final SageMakerRuntimeAsyncClient streaming = SageMakerRuntimeAsyncClient.create();
    final S3Client s3 = S3Client.create();

    /** Sends and gets in parts, in Java alone: the other manager is made of native code. */
    final S3TransferManager transfers =
            S3TransferManager.builder()
                    .s3Client(S3AsyncClient.builder().multipartEnabled(true).build())
                    .build();

    private final WaiterOverrideConfiguration waiting =
            WaiterOverrideConfiguration.builder()
                    .backoffStrategyV2(BackoffStrategy.fixedDelay(Duration.ofMillis(200)))
                    .maxAttempts(1000)
                    .waitTimeout(PATIENCE)
                    .build();

    // They look more often than the SDK's own, which wait 5 and 30 seconds in between.
    final SageMakerWaiter endpoints =
            SageMakerWaiter.builder().client(sagemaker).overrideConfiguration(waiting).build();
    final S3Waiter objects = S3Waiter.builder().client(s3).overrideConfiguration(waiting).build();

    private static String environment(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            System.err.println(name + " is not set");
            System.exit(2);
        }
        return value;
    }
}
