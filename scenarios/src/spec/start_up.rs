//! The stages of a replica's start as written.

use scaletwin_core::input::{At, Count};
use scaletwin_core::random::Distributed;
use scaletwin_core::units::{Bandwidth, Bytes, Span};

scaletwin_core::keys! {
    /// The stages of a replica's start, in their order: image, start, weights, load, compile, warm-up. What is not written
    /// takes no time. `docs/models/cold-start.md` has the equations, and figures for common servers.
    #[derive(Debug, Clone)]
    pub struct StartUpSpec {
        /// The container image, pulled and unpacked once on each node.
        pub image: Option<At<ImageSpec>> = None,
        /// From the start of the container to its asking for weights: initialisation and imports.
        pub start: Option<Distributed<Span>> = None,
        /// The weights, downloaded once to each node and read by each replica.
        pub weights: Option<At<WeightsSpec>> = None,
        /// Compilation, whose cache later starts on the same node find.
        pub compile: Option<Distributed<Span>> = None,
        /// From there to the first request: graph capture, warm-up.
        pub warm_up: Option<Distributed<Span>> = None,
        /// Servers that sleep on their node when their replicas are deleted, instead of ending. Default: none does.
        pub sleep: Option<At<SleepSpec>> = None,
    }
}

scaletwin_core::keys! {
    /// Servers that sleep with their weights in the host's memory (`--enable-sleep-mode` of vLLM, level 1), and hold no
    /// accelerator. A later replica of the deployment on the same node wakes one.
    #[derive(Debug, Clone)]
    pub struct SleepSpec {
        /// How long a replica takes that wakes one, instead of all stages.
        pub wake: Distributed<Span>,
        /// The most of a deployment that sleep on a node: as many as its memory has room for besides.
        pub per_node: Count = Count(1),
    }
}

scaletwin_core::keys! {
    /// A container image.
    #[derive(Debug, Clone)]
    pub struct ImageSpec {
        /// Its name: deployments that name the same share it on a node. Default: one of the deployment's own.
        pub name: Option<String> = None,
        /// What is downloaded.
        pub size: At<Bytes>,
        /// How fast it is unpacked, of the size above. Default: 20 GB in 3.5 minutes, as BentoML measured.
        pub extract: Bandwidth = Bandwidth::bytes_per_second(96_000_000),
        /// Whether it is on every node from the node's start.
        pub pre_pulled: bool = false,
    }
}

scaletwin_core::keys! {
    /// Weights.
    #[derive(Debug, Clone)]
    pub struct WeightsSpec {
        /// Their name: deployments that name the same share them on a node. Default: the model, else the deployment's own.
        pub name: Option<String> = None,
        /// Their size.
        pub size: At<Bytes>,
        /// How fast they are read from the node's disk. Default: 16 GB in 33 s, as Tensorfuse measured.
        pub disk: Bandwidth = Bandwidth::bytes_per_second(485_000_000),
        /// How fast, once a replica on the node has read them: they are in the page cache. Default: 16 GB in 18 s, as
        /// Tensorfuse measured.
        pub page_cache: Bandwidth = Bandwidth::bytes_per_second(890_000_000),
        /// How fast they come from another node of the cluster that has them, which sends to one node at a time. Default: all
        /// nodes download them.
        pub peer: Option<Bandwidth> = None,
        /// Whether they are on the disk of every node from the node's start.
        pub pre_pulled: bool = false,
    }
}
