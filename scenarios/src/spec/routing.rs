//! Routing as written.

use scaletwin_core::input::{
    Count, Entry, Node, NonNegative, Period, Positive, Problems, Read, Shape, Value,
};
use scaletwin_core::units::{Share, Span};
use serde_json::json;

scaletwin_core::kinds! {
    /// How requests are spread over ready replicas.
    #[derive(Debug, Clone)]
    pub enum BalanceSpec {
        /// In turn.
        RoundRobin(PlainSpec) = "round-robin",
        /// To the replica with the fewest requests; among equals to the one that has had that few for longest.
        LeastOutstanding(PlainSpec) = "least-outstanding",
        /// In turn, in proportion to the `weight:` of each replica's deployment.
        WeightedRoundRobin(PlainSpec) = "weighted-round-robin",
        /// To any, each as likely.
        Random(PlainSpec) = "random",
        /// To the one with the fewest requests of two that are drawn.
        PowerOfTwoChoices(ChoicesSpec) = "power-of-two-choices",
        /// To the one with the least product of mean response time and requests.
        LeastResponseTime(ResponseTimeSpec) = "least-response-time",
        /// By the session's place on a ring, with bounded loads.
        ConsistentHash(ConsistentHashSpec) = "consistent-hash",
        /// To the replica that had the session's last request.
        SessionAffinity(SessionAffinitySpec) = "session-affinity",
        /// To a replica that was sent the longest part of the prompt before.
        PrefixAffinity(PrefixAffinitySpec) = "prefix-affinity",
        /// To the replica with the best score by what each reported of itself, as load balancers call it; the endpoint picker of
        /// llm-d and the Gateway API does the same with its scorers.
        ResourceBased(ResourceBasedSpec) = "resource-based",
    }
}

scaletwin_core::keys! {
    /// A rule without keys.
    #[derive(Debug, Clone, Default)]
    pub struct PlainSpec {}
}

scaletwin_core::keys! {
    /// Replicas that are drawn.
    #[derive(Debug, Clone)]
    pub struct ChoicesSpec {
        /// How many (Envoy's `choice_count`).
        pub choices: Count = Count(2),
    }
}

scaletwin_core::keys! {
    /// The least product of mean response time and requests.
    #[derive(Debug, Clone)]
    pub struct ResponseTimeSpec {
        /// What a new response weighs in the exponentially weighted mean (assumed).
        pub smoothing: Share = Share::new(0.3).expect("a share"),
    }
}

scaletwin_core::keys! {
    /// A ring with bounded loads.
    #[derive(Debug, Clone)]
    pub struct ConsistentHashSpec {
        /// The most requests of a replica, by the mean; at least 1.
        pub load_factor: Positive = Positive(1.25),
    }
}

scaletwin_core::keys! {
    /// Sessions that stay.
    #[derive(Debug, Clone)]
    pub struct SessionAffinitySpec {
        /// Sessions that are remembered, the latest.
        pub remembered: Count = Count(100_000),
    }
}

scaletwin_core::keys! {
    /// Prompts that go where their leading blocks have gone before.
    #[derive(Debug, Clone)]
    pub struct PrefixAffinitySpec {
        /// Tokens of a block (assumed).
        pub block_tokens: Count = Count(64),
        /// Leading blocks that are looked at, as in the Gateway API inference extension.
        pub blocks: Count = Count(256),
        /// Blocks that are remembered, the latest (assumed).
        pub remembered: Count = Count(100_000),
        /// A replica is passed over with more requests than this times the mean (SGLang's `balance_rel_threshold`); at
        /// least 1.
        pub load_factor: Positive = Positive(1.5),
        /// And so many more (SGLang's `balance_abs_threshold`).
        pub load_slack: u32 = 64,
    }
}

scaletwin_core::keys! {
    /// What replicas report of themselves, and what each figure weighs. Where no weight is written, `waiting` and `kv_cache` weigh the
    /// same, as those two do in the default profile of the Gateway API inference extension.
    #[derive(Debug, Clone)]
    pub struct ResourceBasedSpec {
        /// From one report of a replica to its next, at least 1ms; between them nobody knows what it was given. Default: that of the
        /// Gateway API inference extension (`--refresh-metrics-interval`). Agents of load balancers take seconds.
        pub refresh: Period = Period(Span::from_millis(50)),
        /// Requests that wait in a replica, against the least and the most of all (`queue-scorer`).
        pub waiting: Option<NonNegative> = None,
        /// Requests under way in a replica, against the least and the most of all (`running-requests-size-scorer`).
        pub running: Option<NonNegative> = None,
        /// The share of its KV cache in use (`kv-cache-utilization-scorer`).
        pub kv_cache: Option<NonNegative> = None,
        /// The CPU used since the last report, as a share of `usage: {cpu_busy}`.
        pub cpu: Option<NonNegative> = None,
        /// The share of the time since the last report in which its GPUs worked.
        pub gpu: Option<NonNegative> = None,
    }
}

/// How requests are spread: the name of a rule, or a map with its `kind` and keys.
#[derive(Debug, Clone)]
pub struct RoutingSpec(pub BalanceSpec);

impl Default for RoutingSpec {
    fn default() -> RoutingSpec {
        RoutingSpec(BalanceSpec::LeastOutstanding(PlainSpec {}))
    }
}

impl Read for RoutingSpec {
    fn read(node: &Node, problems: &mut Problems) -> Option<RoutingSpec> {
        let Value::Text(_) = &node.value else { return BalanceSpec::read(node, problems).map(RoutingSpec) };
        let kind = Entry { key: "kind".to_owned(), key_place: node.place.clone(), node: node.clone() };
        let map = Node { value: Value::Map(vec![kind]), place: node.place.clone() };
        BalanceSpec::read(&map, problems).map(RoutingSpec)
    }

    fn shape() -> Shape {
        let rules = BalanceSpec::shape();
        let name = json!({"type": "string", "description": rules.phrase});
        Shape::new("a rule such as least-outstanding", json!({"anyOf": [name, rules.schema]}))
    }
}
