//! Failures of nodes and zones as written.

use scaletwin_core::input::{At, Count, Period};
use scaletwin_core::units::Span;
use scaletwin_sim::cluster::settings::Lost;

scaletwin_core::keys! {
    /// How the nodes of a pool fail. A failed node answers nobody, and is billed until it is given back.
    #[derive(Debug, Clone)]
    pub struct FailuresSpec {
        /// The mean time from a node's being ready to its failure, which is memoryless. Default: none fails by itself.
        pub mtbf: Option<Period> = None,
        /// Nodes that fail besides, ascending. Chance says which.
        pub at: At<Vec<FailureSpec>> = Vec::new(),
        /// What becomes of requests in its replicas, and of those sent there before anybody knows.
        pub requests: Lost = Lost::Hang,
        /// From a node's being found `NotReady` to its being given back, with another launched in its place, as node repair
        /// of GKE (about 10 minutes) and Karpenter (30 minutes) does. What the provider refuses is launched when it has capacity again. Default: nobody
        /// does that.
        pub repair: Option<Span> = None,
        /// From a node's failure to its working again, as after a reboot: its disk has what it had, its memory nothing. Pods that
        /// are still there start again. Default: it never does.
        pub recovery: Option<Span> = None,
    }
}

scaletwin_core::keys! {
    /// How the containers of a deployment crash. The kubelet starts them again in place, with its crash-loop back-off: at once
    /// after the first crash, then after `back_off`, then after twice as long each time.
    #[derive(Debug, Clone)]
    pub struct CrashesSpec {
        /// The mean time from a replica's being ready to its crash, which is memoryless. Default: none crashes by itself.
        pub mtbf: Option<Period> = None,
        /// Replicas that crash besides, ascending. Chance says which of those that are ready.
        pub at: At<Vec<CrashSpec>> = Vec::new(),
        /// The first wait.
        pub back_off: Period = Period(Span::from_secs(10)),
        /// The longest wait. After twice as long without a crash waits begin anew.
        pub max_back_off: Period = Period(Span::from_secs(300)),
    }
}

scaletwin_core::keys! {
    /// Replicas that crash at an instant.
    #[derive(Debug, Clone)]
    pub struct CrashSpec {
        /// When.
        pub at: Span,
        /// How many.
        pub replicas: Count = Count(1),
    }
}

scaletwin_core::keys! {
    /// Nodes that fail at an instant.
    #[derive(Debug, Clone)]
    pub struct FailureSpec {
        /// When.
        pub at: Span,
        /// How many.
        pub nodes: Count = Count(1),
    }
}

scaletwin_core::keys! {
    /// How a cluster finds out that a node has failed.
    #[derive(Debug, Clone)]
    pub struct DetectionSpec {
        /// From a node's failure to its being `NotReady`, and its pods no endpoints any more (`--node-monitor-grace-period`,
        /// 50 s since Kubernetes 1.32, 40 s before).
        pub grace_period: Span = Span::from_secs(50),
        /// From there to the deletion of its pods (`tolerationSeconds` of `node.kubernetes.io/unreachable`).
        pub toleration: Span = Span::from_secs(300),
    }
}

impl Default for DetectionSpec {
    fn default() -> DetectionSpec {
        DetectionSpec { grace_period: Span::from_secs(50), toleration: Span::from_secs(300) }
    }
}

scaletwin_core::keys! {
    /// A zone of a cluster is out: all its nodes fail, and none can be launched in it for the time.
    #[derive(Debug, Clone)]
    pub struct OutageSpec {
        /// The cluster. Default: the only one.
        pub cluster: Option<At<String>> = None,
        /// The zone, that of one node pool at least.
        pub zone: At<String>,
        /// When it begins.
        pub at: Span,
        /// How long it lasts.
        pub duration: Period,
        /// What becomes of requests in its replicas, and of those sent there before anybody knows.
        pub requests: Lost = Lost::Hang,
    }
}
