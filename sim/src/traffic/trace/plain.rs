//! Numbers as nearly all are written, read in one pass. What is written otherwise is left to those who know all ways.

use scaletwin_core::units::Span;

/// The most digits of a whole number or of a part of a second.
const MOST: usize = 9;

/// Takes one to nine digits off the front: their number, and how many they are.
#[inline]
fn take_digits(rest: &mut &[u8]) -> Option<(u32, usize)> {
    let (mut number, mut count) = (0, 0);
    while let [byte, tail @ ..] = *rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if count == MOST {
            return None;
        }
        number = 10 * number + u32::from(digit);
        count += 1;
        *rest = tail;
    }
    (count > 0).then_some((number, count))
}

/// Takes a whole number of up to nine digits off the front.
#[inline]
pub(super) fn take_number(rest: &mut &[u8]) -> Option<u32> {
    take_digits(rest).map(|(number, _)| number)
}

/// Takes seconds off the front: up to six digits, a point, and up to nine more. By way of a float they would be the same.
#[inline]
pub(super) fn take_seconds(rest: &mut &[u8]) -> Option<Span> {
    let (whole, digits) = take_digits(rest)?;
    let ([b'.', part @ ..], 1..=6) = (*rest, digits) else { return None };
    *rest = part;
    let (part, digits) = take_digits(rest)?;
    Some(Span::from_nanos(1_000_000_000 * u64::from(whole) + u64::from(part) * TENS[MOST - digits]))
}

/// Powers of ten.
const TENS: [u64; MOST] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// What `take` makes of a whole field.
#[inline]
pub(super) fn all<T>(field: &[u8], take: impl FnOnce(&mut &[u8]) -> Option<T>) -> Option<T> {
    let mut rest = field;
    take(&mut rest).filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_seconds_are_those_of_the_float(whole in 0u32..2_000_000, part in "[0-9]{0,10}") {
            let text = format!("{whole}.{part}");
            let plain = all(text.as_bytes(), take_seconds);
            prop_assert_eq!(plain.is_some(), whole < 1_000_000 && (1..=9).contains(&part.len()));
            let float = Span::from_written_secs(text.parse().unwrap()).unwrap();
            prop_assert!(plain.is_none_or(|plain| plain == float), "{}", text);
        }

        #[test]
        fn plain_numbers_are_those_of_the_library(text in "[0-9+ ]{0,11}") {
            let known: Option<u32> = text.parse().ok().filter(|_| text.len() <= 9 && !text.starts_with('+'));
            prop_assert_eq!(all(text.as_bytes(), take_number), known);
        }
    }
}
