//! What Karpenter can launch: instance types with their offerings, by NodePool.

use scaletwin_core::control::{CapacityType, Offer, Resources};
use scaletwin_core::units::{Span, Time};

use super::spec::NodePoolSettings;
use crate::kubernetes::placement::Within;

/// How long an offering is passed over after the provider had no capacity for it: the AWS provider's cache of
/// unavailable offerings.
pub const UNAVAILABLE: Span = Span::from_secs(180);

/// How capacity is preferred where a NodePool allows several kinds.
pub const PREFERENCE: [CapacityType; 3] =
    [CapacityType::Reserved, CapacityType::Spot, CapacityType::OnDemand];

/// An instance type of a NodePool.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceType {
    /// Its name.
    pub name: String,
    /// What one has, which counts against limits.
    pub capacity: Resources,
    /// What pods can use of one.
    pub allocatable: Resources,
    /// The places of its offers in [`Catalogue::offers`], those that can be had now.
    pub offers: Vec<usize>,
}

/// What can be launched now.
#[derive(Debug, Clone)]
pub struct Catalogue<'a> {
    /// All offers of the cluster.
    pub offers: Vec<&'a Offer>,
    /// The instance types of each NodePool.
    pub types: Vec<Vec<InstanceType>>,
}

impl<'a> Catalogue<'a> {
    /// What the NodePools can launch of `offers` at `now`.
    #[must_use]
    pub fn new(offers: Vec<&'a Offer>, node_pools: &[NodePoolSettings], now: Time) -> Catalogue<'a> {
        let types = node_pools.iter().map(|pool| types(&offers, pool, now)).collect();
        Catalogue { offers, types }
    }

    /// The offers of some types of a NodePool that pods bound to `within` can use, of one kind of capacity.
    fn compatible<'s>(
        &'s self,
        node_pool: usize,
        types: &'s [usize],
        within: &'s Within<'_>,
        capacity: CapacityType,
    ) -> impl Iterator<Item = usize> + 's {
        let offers = types.iter().flat_map(move |place| &self.types[node_pool][*place].offers);
        offers.copied().filter(move |place| {
            let offer = self.offers[*place];
            offer.capacity_type == capacity && within.allows(offer)
        })
    }

    /// The offer that would be launched of some types: of the preferred kind of capacity the cheapest, the first of
    /// equals, one without a price last. `left` says how many more of each there may be.
    #[must_use]
    pub fn cheapest(
        &self,
        node_pool: usize,
        types: &[usize],
        within: &Within<'_>,
        kinds: &[CapacityType],
        left: &[u32],
    ) -> Option<usize> {
        kinds.iter().find_map(|kind| {
            let open = self.compatible(node_pool, types, within, *kind).filter(|place| left[*place] > 0);
            open.min_by(|a, b| self.price(*a).total_cmp(&self.price(*b)).then(a.cmp(b)))
        })
    }

    /// The most that a type may cost: the dearest of its offers of the kind of capacity that would be launched.
    #[must_use]
    pub fn worst_price(
        &self,
        node_pool: usize,
        place: usize,
        within: &Within<'_>,
        kinds: &[CapacityType],
    ) -> f64 {
        let types = [place];
        let dearest = kinds.iter().find_map(|kind| {
            let prices = self.compatible(node_pool, &types, within, *kind).map(|offer| self.price(offer));
            prices.max_by(f64::total_cmp)
        });
        dearest.unwrap_or(f64::INFINITY)
    }

    /// The price of an offer, infinite if it is not known.
    #[must_use]
    pub fn price(&self, offer: usize) -> f64 {
        self.offers[offer].price_usd_per_hour.unwrap_or(f64::INFINITY)
    }

    /// How many more there may be of each offer.
    #[must_use]
    pub fn room(&self) -> Vec<u32> {
        self.offers.iter().map(|offer| offer.room).collect()
    }
}

/// The instance types of a NodePool that can be had now, in the order of their first offers.
fn types(offers: &[&Offer], node_pool: &NodePoolSettings, now: Time) -> Vec<InstanceType> {
    let there =
        |offer: &Offer| offer.room > 0 && offer.stocked_out.is_none_or(|at| now.since(at) >= UNAVAILABLE);
    let mut found: Vec<InstanceType> = Vec::new();
    let mut places: std::collections::BTreeMap<(&str, [i64; 3]), usize> = std::collections::BTreeMap::new();
    for (place, offer) in offers.iter().enumerate() {
        if !there(offer) || !node_pool.takes(&(*offer).into()) {
            continue;
        }
        let Resources { cpu_milli, memory_bytes, gpu_milli } = offer.allocatable;
        let key = (offer.instance_type.as_str(), [cpu_milli, memory_bytes, gpu_milli]);
        let known = *places.entry(key).or_insert(found.len());
        if known == found.len() {
            let name = offer.instance_type.clone();
            let Offer { capacity, allocatable, .. } = **offer;
            found.push(InstanceType { name, capacity, allocatable, offers: Vec::new() });
        }
        found[known].offers.push(place);
    }
    found
}
