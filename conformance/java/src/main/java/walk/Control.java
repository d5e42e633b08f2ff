package walk;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import software.amazon.awssdk.services.sagemaker.model.DescribeEndpointResponse;
import software.amazon.awssdk.services.sagemaker.model.EndpointSortKey;
import software.amazon.awssdk.services.sagemaker.model.EndpointStatus;
import software.amazon.awssdk.services.sagemaker.model.OrderKey;
import software.amazon.awssdk.services.sagemaker.model.ProductionVariantInstanceType;
import software.amazon.awssdk.services.sagemaker.model.ProductionVariantSummary;
import software.amazon.awssdk.services.sagemaker.model.SageMakerException;
import software.amazon.awssdk.services.sagemaker.model.Tag;
import software.amazon.awssdk.services.sts.model.GetCallerIdentityResponse;

/** The steps of the control plane. */
final class Control {
    private static final String VARIANT = "AllTraffic";
    private static final Tag MADE_BY = tag("made-by", "walk");

    private final Clients c;
    private final String next; // the configuration that the endpoint is updated to
    private final String second; // the endpoint that makes a list of two
    private String account; // known from identity on

    Control(Clients c) {
        this.c = c;
        next = c.name + "-next";
        second = c.name + "-second";
    }

    String account() {
        return account;
    }

    void identity() {
        GetCallerIdentityResponse caller = c.sts.getCallerIdentity();
        account = caller.account();
        Check.that(account.matches("\\d{12}"), account);
        Check.contains(caller.arn(), "arn:aws:iam::" + account + ":");
    }

    void create() {
        String arn =
                c.sagemaker
                        .createModel(r -> r.modelName(c.name)
                                .primaryContainer(p -> p.image(c.image))
                                .executionRoleArn("arn:aws:iam::" + account + ":role/walk"))
                        .modelArn();
        Check.that(arn.endsWith(":" + account + ":model/" + c.name), arn);
        createConfig(c.name, "out");
        createEndpoint(c.name);
    }

    private void createConfig(String name, String output) {
        c.sagemaker.createEndpointConfig(r -> r.endpointConfigName(name)
                .productionVariants(v -> v.variantName(VARIANT)
                        .modelName(c.name)
                        .initialInstanceCount(1)
                        .instanceType(ProductionVariantInstanceType.ML_M5_LARGE))
                .asyncInferenceConfig(a -> a.clientConfig(l -> l.maxConcurrentInvocationsPerInstance(4))
                        .outputConfig(o -> o.s3OutputPath("s3://" + c.bucket + "/" + output + "/")
                                .s3FailurePath("s3://" + c.bucket + "/failed/"))));
    }

    private void createEndpoint(String name) {
        c.sagemaker.createEndpoint(r -> r.endpointName(name).endpointConfigName(c.name).tags(MADE_BY));
    }

    void awaitInService() {
        awaitInService(c.name);
        DescribeEndpointResponse found = describe();
        Check.equal(found.endpointStatus(), EndpointStatus.IN_SERVICE);
        Check.equal(found.endpointConfigName(), c.name);
        Check.equal(found.productionVariants().get(0).currentInstanceCount(), 1);
        Check.equal(found.asyncInferenceConfig().outputConfig().s3OutputPath(), "s3://" + c.bucket + "/out/");
        Duration age = Duration.between(found.creationTime(), Instant.now());
        Check.that(age.abs().compareTo(Clients.PATIENCE) < 0, found.creationTime());
    }

    private void awaitInService(String name) {
        c.endpoints.waitUntilEndpointInService(r -> r.endpointName(name));
    }

    private DescribeEndpointResponse describe() {
        return c.sagemaker.describeEndpoint(r -> r.endpointName(c.name));
    }

    void list() {
        createEndpoint(second);
        List<String> endpoints =
                c.sagemaker
                        .listEndpointsPaginator(r -> r.nameContains(c.name)
                                .sortBy(EndpointSortKey.NAME)
                                .sortOrder(OrderKey.ASCENDING)
                                .maxResults(1))
                        .endpoints()
                        .stream()
                        .map(e -> e.endpointName())
                        .toList();
        Check.equal(endpoints, List.of(c.name, second));
        awaitInService(second);
        c.sagemaker.deleteEndpoint(r -> r.endpointName(second));
    }

    void tags() {
        String arn = describe().endpointArn();
        Tag team = tag("team", "a");
        Tag other = tag("made-by", "somebody else");
        c.sagemaker.addTags(r -> r.resourceArn(arn).tags(team, other));
        Check.equal(tagsOf(arn), Set.of(team, other));
        c.sagemaker.deleteTags(r -> r.resourceArn(arn).tagKeys("made-by", "no-such-tag"));
        Check.equal(tagsOf(arn), Set.of(team));
    }

    private Set<Tag> tagsOf(String arn) {
        return c.sagemaker.listTagsPaginator(r -> r.resourceArn(arn)).tags().stream()
                .collect(Collectors.toSet());
    }

    private static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    void updateConfig() {
        createConfig(next, "next");
        c.sagemaker.updateEndpoint(r -> r.endpointName(c.name).endpointConfigName(next));
        awaitInService(c.name);
        Check.equal(describe().endpointConfigName(), next);
    }

    void updateCapacity() {
        c.sagemaker.updateEndpointWeightsAndCapacities(r -> r.endpointName(c.name)
                .desiredWeightsAndCapacities(d -> d.variantName(VARIANT).desiredWeight(1f).desiredInstanceCount(2)));
        awaitInService(c.name);
        ProductionVariantSummary variant = describe().productionVariants().get(0);
        Check.equal(variant.desiredInstanceCount(), 2);
        Check.equal(variant.currentInstanceCount(), 2);
        Check.equal(variant.currentWeight(), 1f);
    }

    void deleteAll() throws Exception {
        c.sagemaker.deleteEndpoint(r -> r.endpointName(c.name));
        for (String name : List.of(c.name, second)) {
            c.endpoints.waitUntilEndpointDeleted(r -> r.endpointName(name));
        }
        for (String name : List.of(c.name, next)) {
            c.sagemaker.deleteEndpointConfig(r -> r.endpointConfigName(name));
        }
        c.sagemaker.deleteModel(r -> r.modelName(c.name));
        SageMakerException e = Check.refused(SageMakerException.class, this::describe);
        Check.equal(e.awsErrorDetails().errorCode(), "ValidationException");
        Check.contains(e.awsErrorDetails().errorMessage(), "Could not find endpoint");
    }
}
