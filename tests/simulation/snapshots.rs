//! A run cut at any instant, written, read back and continued gives the record of the uncut run, byte for byte.

use proptest::prelude::*;
use scaletwin_core::model::Snapshot;
use scaletwin_core::record::RunRecord;
use scaletwin_core::units::{Span, Time};

use crate::random::{Shape, shapes};
use crate::running::{scenario, start};

/// All bytes that a run leaves behind.
pub(crate) fn bytes(record: &RunRecord) -> String {
    let RunRecord { summary, windows, capacity, pools, nodes, decisions } = record;
    serde_json::to_string(&(summary, windows, capacity, pools, nodes, decisions))
        .expect("a record is plain data")
}

pub(crate) fn cut(shape: &Shape, cuts: &[u64]) -> Result<(), TestCaseError> {
    let scenario = scenario(&shape.text());
    let uncut = start(&scenario).finish().expect("a run comes to its end");
    let mut run = start(&scenario);
    let mut at = Time::ZERO;
    for millis in cuts {
        at += Span::from_millis(*millis);
        if run.run_until(at).expect("a run goes on") {
            break;
        }
        let written = run.snapshot(at).and_then(|snapshot| snapshot.to_json()).expect("a run can be written");
        let snapshot = Snapshot::from_json(&written).expect("what was written can be read");
        run = scenario.resume(&snapshot).expect("its own snapshot fits");
    }
    let record = run.finish().expect("a run comes to its end");
    prop_assert_eq!(bytes(&uncut), bytes(&record));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_cut_run_gives_the_record_of_the_uncut_one(
        shape in shapes(),
        cuts in prop::collection::vec(1u64..90_000, 1..4),
    ) {
        cut(&shape, &cuts)?;
    }
}
