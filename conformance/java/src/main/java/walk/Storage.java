package walk;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.BlockingInputStreamAsyncRequestBody;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Uri;
import software.amazon.awssdk.services.s3.model.DeleteObjectsResponse;
import software.amazon.awssdk.services.s3.model.DeletedObject;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.transfer.s3.model.Upload;

/** The steps of object storage. */
final class Storage {
    static final String LARGE = "in/large";
    private static final int LARGE_SIZE = 40 << 20;

    private final Clients c;
    private final Path large; // what is uploaded
    private String largeOutput; // where the model put what it made of it

    record Found(String text, String type) {}

    Storage(Clients c) {
        this.c = c;
        try {
            byte[] data = new byte[LARGE_SIZE];
            new Random().nextBytes(data);
            large = Files.createTempFile("walk", ".raw");
            large.toFile().deleteOnExit();
            Files.write(large, data);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    void createBucket() {
        c.s3.createBucket(r -> r.bucket(c.bucket));
        c.objects.waitUntilBucketExists(r -> r.bucket(c.bucket));
    }

    String locationOf(String key) {
        return "s3://" + c.bucket + "/" + key;
    }

    void put(String key, String text, String type) {
        c.s3.putObject(r -> r.bucket(c.bucket).key(key).contentType(type), RequestBody.fromString(text));
    }

    /** Waits for the object. */
    void await(String location) {
        S3Uri at = parse(location);
        c.objects.waitUntilObjectExists(
                r -> r.bucket(at.bucket().orElseThrow()).key(at.key().orElseThrow()));
    }

    /** Returns the object's content and type once it is there. */
    Found awaitText(String location) {
        await(location);
        ResponseBytes<GetObjectResponse> found = get(location);
        return new Found(found.asUtf8String(), found.response().contentType());
    }

    ResponseBytes<GetObjectResponse> get(String location) {
        S3Uri at = parse(location);
        return c.s3.getObjectAsBytes(
                r -> r.bucket(at.bucket().orElseThrow()).key(at.key().orElseThrow()));
    }

    void checkMissing(String location) throws Exception {
        S3Uri at = parse(location);
        NoSuchKeyException get = Check.refused(NoSuchKeyException.class, () -> get(location));
        Check.equal(get.statusCode(), 404);
        Check.contains(get.awsErrorDetails().errorMessage(), "does not exist");
        S3Exception head =
                Check.refused(
                        S3Exception.class,
                        () -> c.s3.headObject(
                                r -> r.bucket(at.bucket().orElseThrow()).key(at.key().orElseThrow())));
        Check.equal(head.statusCode(), 404);
    }

    private S3Uri parse(String location) {
        return c.s3.utilities().parseUri(URI.create(location));
    }

    void upload() throws Exception {
        c.transfers
                .uploadFile(u -> u.source(large)
                        .putObjectRequest(r -> r.bucket(c.bucket).key(LARGE).contentType("image/x-raw")))
                .completionFuture()
                .join();
        HeadObjectResponse found = c.s3.headObject(r -> r.bucket(c.bucket).key(LARGE));
        Check.that(found.eTag().matches("\"[0-9a-f]{32}-5\""), found.eTag());
        Check.equal(found.contentLength(), (long) LARGE_SIZE);
        Check.equal(found.contentType(), "image/x-raw");
        uploadStream();
    }

    /** Sends a stream whose length the SDK does not know beforehand. */
    private void uploadStream() throws Exception {
        BlockingInputStreamAsyncRequestBody body = AsyncRequestBody.forBlockingInputStream(null);
        Upload upload =
                c.transfers.upload(
                        u -> u.requestBody(body).putObjectRequest(r -> r.bucket(c.bucket).key("in/stream")));
        try (InputStream in = Files.newInputStream(large)) {
            body.writeInputStream(in);
        }
        upload.completionFuture().join();
        byte[] found = get(locationOf("in/stream")).asByteArrayUnsafe();
        Check.equal(hash(found), hash(Files.readAllBytes(large)));
    }

    void largeOutput(String location) {
        largeOutput = location;
    }

    /** Gets objects of many parts, and one that was never in parts. */
    void download() throws Exception {
        String want = hash(Files.readAllBytes(large));
        Check.equal(hash(download(locationOf(LARGE))), want);
        Check.equal(hash(download(largeOutput)), want);
        Check.equal(new String(download(locationOf("in/typed.csv")), StandardCharsets.UTF_8), "1,2,3");
    }

    private byte[] download(String location) throws IOException {
        S3Uri at = parse(location);
        Path file = Files.createTempFile("walk", ".raw");
        try {
            c.transfers
                    .downloadFile(d -> d.destination(file)
                            .getObjectRequest(r -> r.bucket(at.bucket().orElseThrow()).key(at.key().orElseThrow())))
                    .completionFuture()
                    .join();
            return Files.readAllBytes(file);
        } finally {
            Files.delete(file);
        }
    }

    private static String hash(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    void copy() throws Exception {
        c.s3.copyObject(r -> r.sourceBucket(c.bucket)
                .sourceKey("list/a b")
                .destinationBucket(c.bucket)
                .destinationKey("copy/small"));
        Check.equal(get(locationOf("copy/small")).asUtf8String(), "list/a b");
        c.transfers
                .copy(t -> t.copyObjectRequest(r -> r.sourceBucket(c.bucket)
                        .sourceKey(LARGE)
                        .destinationBucket(c.bucket)
                        .destinationKey("copy/large")))
                .completionFuture()
                .join();
        ResponseBytes<GetObjectResponse> found = get(locationOf("copy/large"));
        Check.that(found.response().eTag().matches("\"[0-9a-f]{32}-\\d+\""), found.response().eTag());
        Check.equal(found.response().contentType(), "image/x-raw");
        Check.equal(hash(found.asByteArrayUnsafe()), hash(Files.readAllBytes(large)));
    }

    void presign() throws Exception {
        String key = "presigned/a b+ä.txt";
        Duration minute = Duration.ofMinutes(1);
        try (S3Presigner presigner = S3Presigner.create()) {
            var put =
                    presigner.presignPutObject(p -> p.signatureDuration(minute)
                            .putObjectRequest(r -> r.bucket(c.bucket)
                                    .key(key)
                                    .contentType("text/plain")
                                    .metadata(Map.of("by", "url"))));
            HttpURLConnection to = (HttpURLConnection) put.url().openConnection();
            to.setRequestMethod("PUT");
            to.setDoOutput(true);
            put.signedHeaders().forEach((name, values) -> to.setRequestProperty(name, String.join(",", values)));
            to.getOutputStream().write("over plain HTTP".getBytes(StandardCharsets.UTF_8));
            Check.equal(to.getResponseCode(), 200);

            var get =
                    presigner.presignGetObject(p -> p.signatureDuration(minute)
                            .getObjectRequest(r -> r.bucket(c.bucket).key(key)));
            Check.that(get.isBrowserExecutable(), get.signedHeaders());
            HttpURLConnection from = (HttpURLConnection) get.url().openConnection();
            Check.equal(new String(from.getInputStream().readAllBytes(), StandardCharsets.UTF_8), "over plain HTTP");
            Check.equal(from.getContentType(), "text/plain");
            Check.equal(from.getHeaderField("x-amz-meta-by"), "url");

            URI other = URI.create(get.url().toString().replace("presigned", "preshared"));
            HttpURLConnection refused = (HttpURLConnection) other.toURL().openConnection();
            Check.equal(refused.getResponseCode(), 403);
            Check.contains(
                    new String(refused.getErrorStream().readAllBytes(), StandardCharsets.UTF_8),
                    "<Code>SignatureDoesNotMatch</Code>");
        }
    }

    void list() {
        List<String> keys = List.of("list/a b", "list/a+b%2F", "list/c/d", "list/ä&<>");
        keys.forEach(key -> put(key, key, "text/plain"));
        List<List<String>> pages =
                c.s3.listObjectsV2Paginator(r -> r.bucket(c.bucket).prefix("list/").maxKeys(3)).stream()
                        .map(page -> page.contents().stream().map(S3Object::key).toList())
                        .toList();
        Check.equal(pages, List.of(keys.subList(0, 3), keys.subList(3, 4)));
        ListObjectsV2Response folders =
                c.s3.listObjectsV2(r -> r.bucket(c.bucket).prefix("list/").delimiter("/"));
        Check.equal(folders.keyCount(), 4);
        Check.equal(folders.commonPrefixes().get(0).prefix(), "list/c/");
    }

    void deleteAll() {
        List<String> keys = new ArrayList<>();
        c.s3.listObjectsV2Paginator(r -> r.bucket(c.bucket).maxKeys(5)).contents().forEach(o -> keys.add(o.key()));
        Check.that(keys.containsAll(List.of("copy/large", "presigned/a b+ä.txt")), keys);
        keys.add("never/was"); // which counts as deleted
        ObjectIdentifier[] all =
                keys.stream().map(k -> ObjectIdentifier.builder().key(k).build()).toArray(ObjectIdentifier[]::new);
        DeleteObjectsResponse gone =
                c.s3.deleteObjects(r -> r.bucket(c.bucket).delete(d -> d.objects(all)));
        Check.equal(gone.errors(), List.of());
        Check.equal(
                new TreeSet<>(gone.deleted().stream().map(DeletedObject::key).toList()), new TreeSet<>(keys));
        Check.equal(c.s3.listObjectsV2(r -> r.bucket(c.bucket)).keyCount(), 0);
        c.s3.deleteBucket(r -> r.bucket(c.bucket));
        c.objects.waitUntilBucketNotExists(r -> r.bucket(c.bucket));
    }

    /** Returns the first bytes of the large object. */
    byte[] beginning(int length) throws Exception {
        return Arrays.copyOf(Files.readAllBytes(large), length);
    }
}
