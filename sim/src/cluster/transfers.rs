//! Downloads that share bandwidth.
//!
//! A download runs over two links: that of its node, and that of the cluster's registry and object store, which all its
//! nodes share. Both are shared max-min fairly: no download could be faster without one that is not faster becoming
//! slower. Rates change only when a download begins or ends, so between these instants bytes are linear in time.
//! `docs/models/cold-start.md` has the equations.

use scaletwin_core::units::{Span, Time};
use serde::{Deserialize, Serialize};

use super::entities::NodeId;

/// The downloads under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfers {
    flows: Vec<Flow>,
    /// The instant that `left` is of.
    at: Time,
}

/// A download, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// The node that it is for.
    pub node: NodeId,
    /// What is downloaded, by its number.
    pub artifact: u32,
    /// The place of the node's cluster.
    pub cluster: usize,
    /// The bandwidth of the node, bytes per second.
    pub node_link: f64,
    /// The bandwidth that all nodes of the cluster share, bytes per second, if it is limited.
    pub shared_link: Option<f64>,
    /// What another node that it comes from gives it, bytes per second; `None`: it comes over the shared link.
    pub peer: Option<f64>,
    /// Its size in bytes.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Flow {
    download: Download,
    /// Bytes to go.
    left: f64,
    /// Bytes per second at present.
    rate: f64,
}

impl Transfers {
    /// Begins a download.
    pub fn begin(&mut self, now: Time, download: Download) {
        self.advance(now);
        self.flows.push(Flow { download, left: download.bytes as f64, rate: 0.0 });
        self.share();
    }

    /// Takes out the downloads that end at `now`, in the order of their beginnings.
    pub fn take_ended(&mut self, now: Time) -> Vec<Download> {
        self.advance(now);
        // What a nanosecond brings is rounding.
        let (ended, going): (Vec<Flow>, Vec<Flow>) =
            self.flows.iter().partition(|flow| flow.left <= flow.rate * 1e-9);
        self.flows = going;
        self.share();
        ended.iter().map(|flow| flow.download).collect()
    }

    /// Ends the downloads of a node that is gone.
    pub fn cancel(&mut self, now: Time, node: NodeId) {
        self.advance(now);
        self.flows.retain(|flow| flow.download.node != node);
        self.share();
    }

    /// Ends the download of one thing to a node.
    pub fn abandon(&mut self, now: Time, node: NodeId, artifact: u32) {
        self.advance(now);
        self.flows.retain(|flow| flow.download.node != node || flow.download.artifact != artifact);
        self.share();
    }

    /// When the next download ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        let end = |flow: &Flow| {
            let span = Span::from_secs_f64(flow.left.max(0.0) / flow.rate).unwrap_or(Span::CENTURY);
            self.at.saturating_add(span)
        };
        self.flows.iter().map(end).min()
    }

    fn advance(&mut self, now: Time) {
        let seconds = now.since(self.at).as_secs_f64();
        self.flows.iter_mut().for_each(|flow| flow.left -= flow.rate * seconds);
        self.at = now;
    }

    /// Gives every download its rate.
    fn share(&mut self) {
        let own: Vec<f64> = self.flows.iter().map(|flow| self.node_share(flow)).collect();
        let mut clusters: Vec<usize> = self.flows.iter().map(|flow| flow.download.cluster).collect();
        clusters.sort_unstable();
        clusters.dedup();
        for cluster in clusters {
            let level = self.cluster_level(cluster, &own);
            let all = self.flows.iter_mut().zip(&own);
            for (flow, own) in all.filter(|(flow, _)| flow.download.cluster == cluster) {
                flow.rate = level.min(*own);
            }
        }
        // What the shared link leaves of a node's own goes to what comes from other nodes.
        for place in 0..self.flows.len() {
            if let Some(peer) = self.flows[place].download.peer {
                self.flows[place].rate = peer.min(self.peer_share(&self.flows[place]));
            }
        }
    }

    /// The downloads of the same node.
    fn beside(&self, flow: &Flow) -> impl Iterator<Item = &Flow> {
        let node = flow.download.node;
        self.flows.iter().filter(move |other| other.download.node == node)
    }

    /// What the link of its node gives a download, if only senders limit those beside it.
    fn node_share(&self, flow: &Flow) -> f64 {
        let limits = self.beside(flow).map(|other| other.download.peer.unwrap_or(f64::INFINITY));
        level(flow.download.node_link, limits.collect())
    }

    /// What the link of its node gives a download from another node, beside what comes over the shared link.
    fn peer_share(&self, flow: &Flow) -> f64 {
        let others: f64 =
            self.beside(flow).filter(|other| other.download.peer.is_none()).map(|other| other.rate).sum();
        let limits = self.beside(flow).filter_map(|other| other.download.peer);
        level(flow.download.node_link - others, limits.collect())
    }

    /// What the shared link of a cluster gives each download that comes over it, of which each could have `own`.
    fn cluster_level(&self, cluster: usize, own: &[f64]) -> f64 {
        let shares = |flow: &Flow| flow.download.cluster == cluster && flow.download.peer.is_none();
        let here = || self.flows.iter().zip(own).filter(|(flow, _)| shares(flow));
        let room = here().find_map(|(flow, _)| flow.download.shared_link);
        room.map_or(f64::INFINITY, |room| level(room, here().map(|(_, own)| *own).collect()))
    }
}

/// The most that each of those that share `room` can have, beyond these limits of theirs: progressive filling, those with the
/// lowest limits first. Infinite if there is room for all.
fn level(mut room: f64, mut limits: Vec<f64>) -> f64 {
    limits.sort_by(f64::total_cmp);
    for (before, limit) in limits.iter().enumerate() {
        let fair = room / (limits.len() - before) as f64;
        if *limit > fair {
            return fair;
        }
        room -= limit;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn download(node: u32, artifact: u32, bytes: u64) -> Download {
        let shared_link = Some(100.0);
        Download { node: NodeId(node), artifact, cluster: 0, node_link: 60.0, shared_link, peer: None, bytes }
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn one_download_has_its_node_s_link_for_itself() {
        let mut transfers = Transfers::default();
        transfers.begin(at(0), download(1, 0, 600));
        assert_eq!(transfers.next_end(), Some(at(10)));
    }

    #[test]
    fn many_at_once_share_and_end_together() {
        let mut transfers = Transfers::default();
        (0..5).for_each(|node| transfers.begin(at(0), download(node, 0, 600)));
        // 5 × 600 bytes over a link of 100 bytes per second.
        assert_eq!(transfers.next_end(), Some(at(30)));
        assert_eq!(transfers.take_ended(at(30)).len(), 5);
        assert_eq!(transfers.next_end(), None);
    }

    #[test]
    fn what_a_slow_node_leaves_goes_to_the_others() {
        let mut transfers = Transfers::default();
        // Node 1 has two downloads at 30 bytes per second each, node 2 one that gets the 40 that are left.
        transfers.begin(at(0), Download { shared_link: Some(100.0), ..download(1, 0, 300) });
        transfers.begin(at(0), download(1, 1, 600));
        transfers.begin(at(0), download(2, 0, 400));
        let rates: Vec<f64> = transfers.flows.iter().map(|flow| flow.rate).collect();
        assert_eq!(rates, [30.0, 30.0, 40.0]);
        // At 10 s the first and the last are through; the second has node 1 for itself.
        assert_eq!(transfers.take_ended(at(10)).len(), 2);
        assert_eq!(transfers.next_end(), Some(at(15)));
    }

    #[test]
    fn what_comes_from_another_node_leaves_the_shared_link_to_the_others() {
        let mut transfers = Transfers::default();
        transfers.begin(at(0), Download { peer: Some(40.0), ..download(1, 0, 400) });
        (2..4).for_each(|node| transfers.begin(at(0), download(node, 0, 500)));
        let rates: Vec<f64> = transfers.flows.iter().map(|flow| flow.rate).collect();
        assert_eq!(rates, [40.0, 50.0, 50.0]);
        transfers.abandon(at(5), NodeId(1), 0);
        assert_eq!(transfers.take_ended(at(10)).len(), 2);
        assert_eq!(transfers.next_end(), None);
    }

    #[test]
    fn what_senders_cannot_give_goes_to_the_others_on_the_link_of_a_node() {
        let rates = |peer: f64, shared_link: Option<f64>, more: u32| {
            let mut transfers = Transfers::default();
            transfers.begin(at(0), Download { peer: Some(peer), shared_link, ..download(1, 0, 400) });
            (1..=more).for_each(|node| {
                transfers.begin(at(0), Download { shared_link, ..download(node, 1, 400) });
            });
            transfers.flows.iter().map(|flow| flow.rate).collect::<Vec<f64>>()
        };
        assert_eq!(rates(10.0, None, 1), [10.0, 50.0]);
        assert_eq!(rates(40.0, None, 1), [30.0, 30.0]);
        // And what the shared link leaves goes to what comes from the sender.
        assert_eq!(rates(40.0, Some(100.0), 3), [30.0, 30.0, 35.0, 35.0]);
        assert_eq!(rates(40.0, Some(60.0), 3), [40.0, 20.0, 20.0, 20.0]);
    }

    #[test]
    fn a_node_that_goes_gives_its_bandwidth_back() {
        let mut transfers = Transfers::default();
        transfers.begin(at(0), download(1, 0, 600));
        transfers.begin(at(0), download(2, 0, 600));
        transfers.cancel(at(6), NodeId(2));
        // 300 bytes are left at 60 per second.
        assert_eq!(transfers.next_end(), Some(at(11)));
    }

    proptest! {
        #[test]
        fn no_link_carries_more_than_it_can_and_none_idles_in_vain(
            flows in prop::collection::vec((0u32..4, 1u64..1_000), 1..12),
        ) {
            let mut transfers = Transfers::default();
            for (artifact, (node, bytes)) in (0u32..).zip(&flows) {
                transfers.begin(at(0), download(*node, artifact, *bytes));
            }
            let all: f64 = transfers.flows.iter().map(|flow| flow.rate).sum();
            prop_assert!(all <= 100.0 + 1e-9);
            for flow in &transfers.flows {
                let node: f64 = transfers.flows.iter().filter(|f| f.download.node == flow.download.node).map(|f| f.rate).sum();
                prop_assert!(node <= 60.0 + 1e-9);
                prop_assert!(node > 60.0 - 1e-9 || all > 100.0 - 1e-9);
            }
            let mut ended = 0;
            while let Some(next) = transfers.next_end() {
                ended += transfers.take_ended(next).len();
            }
            prop_assert_eq!(ended, flows.len());
        }
    }
}
