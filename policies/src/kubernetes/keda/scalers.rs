//! The scalers of KEDA that are one number: a signal stands for what they measure.

/// A scaler with one number: where its metadata has the target, the default of that, the activation threshold, what counts
/// when nothing is measured, and what says only what is measured and how it is reached, which the bound signal stands for.
pub(super) struct Scaler {
    pub kind: &'static str,
    targets: &'static [&'static str],
    pub default: Option<f64>,
    activations: &'static [&'static str],
    pub nothing: Nothing,
    pub measured: &'static [&'static str],
}

/// What a scaler makes of an empty answer.
#[derive(Clone, Copy)]
pub(super) enum Nothing {
    /// An error.
    Fails,
    /// 0, unless its metadata says `ignoreNullValues: "false"`.
    Ignored,
    /// The number in this key of its metadata; without the key an error.
    CountsAs(&'static str),
    /// That number, unless its metadata says `ignoreNullValues: "false"`.
    CountsAsUnlessRefused(&'static str),
}

impl Scaler {
    /// The key of the target, among those for which `is_written` holds.
    pub(super) fn target(&self, is_written: impl Fn(&str) -> bool) -> &'static str {
        // Of a stream of Redis the lag or the pending entries of a group are looked at, without a group its length.
        let targets = match self.targets {
            [of_group @ .., _] if self.is_stream() && is_written("consumerGroup") => of_group,
            [.., length] if self.is_stream() => std::slice::from_ref(length),
            all => all,
        };
        targets.iter().find(|key| is_written(key)).or(targets.last()).expect("a scaler has a target")
    }

    /// The key of the activation threshold, likewise.
    pub(super) fn activation(&self, is_written: impl Fn(&str) -> bool) -> &'static str {
        self.activations.iter().find(|key| is_written(key)).unwrap_or(&self.activations[0])
    }

    fn is_stream(&self) -> bool {
        self.kind.starts_with("redis") && self.kind.ends_with("streams")
    }

    const fn or(self, nothing: Nothing) -> Scaler {
        Scaler { nothing, ..self }
    }
}

const fn scaler(
    kind: &'static str,
    targets: &'static [&'static str],
    default: Option<f64>,
    activations: &'static [&'static str],
    measured: &'static [&'static str],
) -> Scaler {
    Scaler { kind, targets, default, activations, nothing: Nothing::Fails, measured }
}

/// The scalers that can be bound to a signal.
pub(super) const SCALERS: [Scaler; 28] = [
    scaler(
        "prometheus",
        &["threshold"],
        None,
        &["activationThreshold"],
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
    )
    .or(Nothing::Ignored),
    scaler(
        "aws-sqs-queue",
        &["queueLength"],
        Some(5.0),
        &["activationQueueLength"],
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
        &["value"],
        None,
        &["activationValue"],
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
    scaler("redis", &["listLength"], Some(5.0), &["activationListLength"], REDIS),
    scaler("redis-cluster", &["listLength"], Some(5.0), &["activationListLength"], REDIS),
    scaler("redis-sentinel", &["listLength"], Some(5.0), &["activationListLength"], REDIS),
    scaler(
        "azure-servicebus",
        &["messageCount"],
        Some(5.0),
        &["activationMessageCount"],
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
        &["queueLength"],
        Some(5.0),
        &["activationQueueLength"],
        &["queueName", "connectionFromEnv", "accountName", "cloud", "endpointSuffix", "queueLengthStrategy"],
    ),
    scaler(
        "gcp-pubsub",
        &["value"],
        Some(10.0),
        &["activationValue"],
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
        &["lagThreshold"],
        Some(10.0),
        &["activationLagThreshold"],
        &["natsServerMonitoringEndpoint", "account", "stream", "consumer", "useHttps"],
    ),
    scaler(
        "metrics-api",
        &["targetValue"],
        None,
        &["activationTargetValue"],
        &["url", "valueLocation", "format", "method", "authMode", "keyParamName", "unsafeSsl"],
    ),
    scaler("kubernetes-workload", &["value"], None, &["activationValue"], &["podSelector", "allNamespaces"]),
    scaler("kafka", &["lagThreshold"], Some(10.0), &["activationLagThreshold"], KAFKA),
    scaler("apache-kafka", &["lagThreshold"], Some(10.0), &["activationLagThreshold"], KAFKA),
    scaler(
        "azure-eventhub",
        &["unprocessedEventThreshold"],
        Some(64.0),
        &["activationUnprocessedEventThreshold"],
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
        &["msgBacklogThreshold"],
        Some(10.0),
        &["activationMsgBacklogThreshold"],
        &["adminURL", "topic", "isPartitionedTopic", "subscription", "tls", "authModes"],
    ),
    scaler("postgresql", &["targetQueryValue"], None, &["activationTargetQueryValue"], SQL),
    scaler("mysql", &["queryValue"], None, &["activationQueryValue"], SQL),
    scaler("mssql", &["targetValue"], None, &["activationTargetValue"], SQL),
    scaler("redis-streams", STREAM_TARGETS, Some(5.0), &["activationLagCount"], REDIS),
    scaler("redis-cluster-streams", STREAM_TARGETS, Some(5.0), &["activationLagCount"], REDIS),
    scaler("redis-sentinel-streams", STREAM_TARGETS, Some(5.0), &["activationLagCount"], REDIS),
    scaler(
        "loki",
        &["threshold"],
        None,
        &["activationThreshold"],
        &["serverAddress", "query", "tenantName", "authModes", "unsafeSsl"],
    )
    .or(Nothing::Ignored),
    scaler(
        "datadog",
        &["targetValue", "queryValue"],
        None,
        &["activationQueryValue", "activationTargetValue"],
        &[
            "query",
            "queryAggregator",
            "age",
            "timeWindowOffset",
            "lastAvailablePointOffset",
            "useClusterAgentProxy",
            "datadogMetricName",
            "datadogMetricNamespace",
            "timeout",
        ],
    )
    .or(Nothing::CountsAs("metricUnavailableValue")),
    scaler(
        "aws-cloudwatch",
        &["targetMetricValue"],
        None,
        &["activationTargetMetricValue"],
        &[
            "namespace",
            "metricName",
            "dimensionName",
            "dimensionValue",
            "expression",
            "metricCollectionTime",
            "metricStat",
            "metricUnit",
            "metricStatPeriod",
            "metricEndTimeOffset",
            "awsRegion",
            "awsEndpoint",
            "identityOwner",
        ],
    )
    .or(Nothing::CountsAsUnlessRefused("minMetricValue")),
    scaler(
        "gcp-stackdriver",
        &["targetValue"],
        Some(5.0),
        &["activationTargetValue"],
        &[
            "projectId",
            "filter",
            "filterDuration",
            "alignmentPeriodSeconds",
            "alignmentAligner",
            "alignmentReducer",
            "credentials",
            "credentialsFromEnv",
            "credentialsFromEnvFile",
        ],
    )
    .or(Nothing::CountsAs("valueIfNull")),
    scaler(
        "azure-monitor",
        &["targetValue"],
        None,
        &["activationTargetValue"],
        &[
            "resourceURI",
            "tenantId",
            "subscriptionId",
            "resourceGroupName",
            "metricName",
            "metricNamespace",
            "metricFilter",
            "metricAggregationInterval",
            "metricAggregationType",
            "activeDirectoryClientId",
            "activeDirectoryClientIdFromEnv",
            "activeDirectoryClientPasswordFromEnv",
            "azureResourceManagerEndpoint",
            "cloud",
        ],
    ),
    scaler(
        "azure-log-analytics",
        &["threshold"],
        None,
        &["activationThreshold"],
        &[
            "query",
            "tenantId",
            "tenantIdFromEnv",
            "clientId",
            "clientIdFromEnv",
            "clientSecretFromEnv",
            "workspaceId",
            "workspaceIdFromEnv",
            "logAnalyticsResourceURL",
            "cloud",
            "unsafeSsl",
            "timeout",
        ],
    ),
];

/// The targets of streams of Redis: of a group, and of the stream.
const STREAM_TARGETS: &[&str] = &["lagCount", "pendingEntriesCount", "streamLength"];

/// Where a list or a stream of Redis is.
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
    "stream",
    "consumerGroup",
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
    "database",
    "dbName",
    "sslmode",
    "connectionFromEnv",
    "connectionStringFromEnv",
    "passwordFromEnv",
];
