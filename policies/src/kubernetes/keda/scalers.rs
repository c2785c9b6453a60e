//! The scalers of KEDA that are one number: a signal stands for what they measure.

/// A scaler with one number: where its metadata has the target, the default of that, the activation threshold, and what
/// says only what is measured and how it is reached, which the bound signal stands for.
pub(super) struct Scaler {
    pub kind: &'static str,
    pub target: &'static str,
    pub default: Option<f64>,
    pub activation: &'static str,
    pub measured: &'static [&'static str],
}

const fn scaler(
    kind: &'static str,
    target: &'static str,
    default: Option<f64>,
    activation: &'static str,
    measured: &'static [&'static str],
) -> Scaler {
    Scaler { kind, target, default, activation, measured }
}

/// The scalers that can be bound to a signal.
pub(super) const SCALERS: [Scaler; 18] = [
    scaler(
        "prometheus",
        "threshold",
        None,
        "activationThreshold",
        &[
            "serverAddress",
            "metricName",
            "namespace",
            "customHeaders",
            "authModes",
            "unsafeSsl",
            "queryParameters",
            "timeout",
            "awsRegion",
            "identityOwner",
            "cortexOrgID",
        ],
    ),
    scaler(
        "aws-sqs-queue",
        "queueLength",
        Some(5.0),
        "activationQueueLength",
        &[
            "queueURL",
            "queueURLFromEnv",
            "awsRegion",
            "awsEndpoint",
            "identityOwner",
            "scaleOnInFlight",
            "scaleOnDelayed",
        ],
    ),
    scaler(
        "rabbitmq",
        "value",
        None,
        "activationValue",
        &[
            "host",
            "hostFromEnv",
            "queueName",
            "mode",
            "protocol",
            "vhostName",
            "unsafeSsl",
            "timeout",
            "useRegex",
            "pageSize",
            "operation",
            "excludeUnacknowledged",
        ],
    ),
    scaler("redis", "listLength", Some(5.0), "activationListLength", REDIS),
    scaler("redis-cluster", "listLength", Some(5.0), "activationListLength", REDIS),
    scaler("redis-sentinel", "listLength", Some(5.0), "activationListLength", REDIS),
    scaler(
        "azure-servicebus",
        "messageCount",
        Some(5.0),
        "activationMessageCount",
        &[
            "queueName",
            "topicName",
            "subscriptionName",
            "namespace",
            "connectionFromEnv",
            "cloud",
            "endpointSuffix",
        ],
    ),
    scaler(
        "azure-queue",
        "queueLength",
        Some(5.0),
        "activationQueueLength",
        &["queueName", "connectionFromEnv", "accountName", "cloud", "endpointSuffix", "queueLengthStrategy"],
    ),
    scaler(
        "gcp-pubsub",
        "value",
        Some(10.0),
        "activationValue",
        &[
            "mode",
            "subscriptionName",
            "subscriptionNameFromEnv",
            "topicName",
            "credentialsFromEnv",
            "aggregation",
            "timeHorizon",
        ],
    ),
    scaler(
        "nats-jetstream",
        "lagThreshold",
        Some(10.0),
        "activationLagThreshold",
        &["natsServerMonitoringEndpoint", "account", "stream", "consumer", "useHttps"],
    ),
    scaler(
        "metrics-api",
        "targetValue",
        None,
        "activationTargetValue",
        &["url", "valueLocation", "format", "method", "authMode", "keyParamName", "unsafeSsl"],
    ),
    scaler("kubernetes-workload", "value", None, "activationValue", &["podSelector", "allNamespaces"]),
    scaler("kafka", "lagThreshold", Some(10.0), "activationLagThreshold", KAFKA),
    scaler("apache-kafka", "lagThreshold", Some(10.0), "activationLagThreshold", KAFKA),
    scaler(
        "azure-eventhub",
        "unprocessedEventThreshold",
        Some(64.0),
        "activationUnprocessedEventThreshold",
        &[
            "eventHubName",
            "eventHubNamespace",
            "consumerGroup",
            "connectionFromEnv",
            "storageConnectionFromEnv",
            "storageAccountName",
            "blobContainer",
            "checkpointStrategy",
            "cloud",
            "endpointSuffix",
        ],
    ),
    scaler(
        "pulsar",
        "msgBacklogThreshold",
        Some(10.0),
        "activationMsgBacklogThreshold",
        &["adminURL", "topic", "isPartitionedTopic", "subscription", "tls", "authModes"],
    ),
    scaler("postgresql", "targetQueryValue", None, "activationTargetQueryValue", SQL),
    scaler("mysql", "queryValue", None, "activationQueryValue", SQL),
];

/// Where a list of Redis is.
const REDIS: &[&str] = &[
    "address",
    "addressFromEnv",
    "addresses",
    "addressesFromEnv",
    "host",
    "hostFromEnv",
    "hosts",
    "hostsFromEnv",
    "port",
    "portFromEnv",
    "ports",
    "portsFromEnv",
    "sentinelMaster",
    "sentinelMasterFromEnv",
    "listName",
    "databaseIndex",
    "enableTLS",
    "unsafeSsl",
    "usernameFromEnv",
    "passwordFromEnv",
];

/// Which lag of Kafka.
const KAFKA: &[&str] = &[
    "bootstrapServers",
    "bootstrapServersFromEnv",
    "consumerGroup",
    "consumerGroupFromEnv",
    "topic",
    "topicFromEnv",
    "partitionLimitation",
    "offsetResetPolicy",
    "scaleToZeroOnInvalidOffset",
    "version",
    "sasl",
    "tls",
    "unsafeSsl",
];

/// A number that a query gives.
const SQL: &[&str] = &[
    "query",
    "host",
    "port",
    "userName",
    "username",
    "dbName",
    "sslmode",
    "connectionFromEnv",
    "connectionStringFromEnv",
    "passwordFromEnv",
];
