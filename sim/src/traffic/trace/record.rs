//! The fields of a line of a CSV file.

/// A line as fields. Those that are quoted stand here without their quotes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    /// The fields, with commas between them.
    text: Vec<u8>,
    /// Where each field ends in it.
    ends: Vec<usize>,
}

/// Why a line has no fields.
#[derive(Debug)]
pub(super) struct Unclosed {
    /// The offset of the field whose quote is not closed.
    pub offset: usize,
}

impl Record {
    /// How many fields there are; at least one.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is nothing in it.
    pub(super) fn is_blank(&self) -> bool {
        self.len() == 1 && self.text.trim_ascii().is_empty()
    }

    /// Its text.
    pub(super) fn text(&self) -> &[u8] {
        self.text.trim_ascii_end()
    }

    /// The text of a new line, to be written here before it is [split](Record::split).
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Finds the fields of the line.
    ///
    /// # Errors
    /// When a quote that is opened in it is not closed.
    pub(super) fn split(&mut self, quotes: &mut csv_core::Reader) -> Result<(), Unclosed> {
        self.ends.clear();
        for (place, byte) in self.text.iter().enumerate() {
            // Digits come after both.
            if *byte <= b',' {
                match byte {
                    b',' => self.ends.push(place),
                    b'"' => return self.split_quoted(quotes),
                    _ => {}
                }
            }
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    #[cold]
    fn split_quoted(&mut self, quotes: &mut csv_core::Reader) -> Result<(), Unclosed> {
        self.text.push(b'\n');
        let (mut fields, mut ends) = (vec![0; self.text.len()], vec![0; self.text.len()]);
        quotes.reset();
        let (result, _, written, ended) = quotes.read_record(&self.text, &mut fields, &mut ends);
        let is_closed = matches!(result, csv_core::ReadRecordResult::Record);
        ends.truncate(ended);
        if !is_closed {
            ends.push(written);
        }
        self.text.clear();
        self.ends.clear();
        let mut start = 0;
        for end in ends {
            if !self.ends.is_empty() {
                self.text.push(b',');
            }
            self.text.extend_from_slice(&fields[start..end]);
            self.ends.push(self.text.len());
            start = end;
        }
        if is_closed { Ok(()) } else { Err(Unclosed { offset: self.start_of_last() }) }
    }

    fn start_of_last(&self) -> usize {
        self.ends.iter().rev().nth(1).map_or(0, |end| end + 1)
    }

    /// Field `place`, as it stands there.
    pub(super) fn field(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        &self.text[start..self.ends[place]]
    }

    /// The fields without spaces around them, with their offsets in the line.
    pub(super) fn fields(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let field = &self.text[start..*end];
            let trimmed = field.trim_ascii_start();
            let offset = start + field.len() - trimmed.len();
            start = end + 1;
            (offset, trimmed.trim_ascii_end())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        let mut record = Record::default();
        record.line().extend_from_slice(line.as_bytes());
        record.split(&mut csv_core::Reader::new()).ok()?;
        Some(
            (0..record.len()).map(|place| String::from_utf8(record.field(place).to_vec()).unwrap()).collect(),
        )
    }

    proptest! {
        #[test]
        fn fields_are_those_of_the_csv_reader(line in "[a1,\" ]{1,12}") {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            let expected = reader.records().next().unwrap().unwrap();
            match split(&line) {
                Some(fields) => prop_assert_eq!(fields, expected.iter().collect::<Vec<_>>()),
                None => prop_assert!(line.contains('"')),
            }
        }

        #[test]
        fn what_is_quoted_as_needed_comes_back(fields in prop::collection::vec("[a1,\" ]{1,5}", 1..5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(split(line.trim_end_matches('\n')), Some(fields));
        }
    }
}
