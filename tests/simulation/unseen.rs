//! Requests whose end nobody waits for end without an event. The record does not show it.

use proptest::prelude::*;

use crate::random::unwatched;
use crate::running::{record, requests};
use crate::snapshots::{bytes, cut};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_run_whose_requests_are_kept_has_the_same_record(shape in unwatched()) {
        // Each request that is kept has an event at its end.
        let (watched, _) = requests(&shape.text());
        prop_assert_eq!(bytes(&record(&shape.text())), bytes(&watched));
    }

    #[test]
    fn it_can_be_cut_at_any_instant(shape in unwatched(), cuts in prop::collection::vec(1u64..90_000, 1..4)) {
        cut(&shape, &cuts)?;
    }
}
