//! The check after a run of YCSB: a sample of the records, read back.

use store::{Dataset, ErrorKind, Fields, Request, Result, Rows, Session, SessionSpec, Store, Token, Value, execute};

use super::Plan;
use super::answer::{Answer, Expected};
use crate::Check;
use crate::random::mix64;

/// Records of each sort that are read back: with 1,000 of them, a loss of 1 in 200 is found with 99 % probability.
pub(super) const SAMPLE: u64 = 1_000;

/// Numbers of loaded records, spread over all of them without a pattern.
pub(super) fn sample_loaded(records: u64) -> Vec<u64> {
    let count = SAMPLE.min(records);
    (0..count)
        .map(|place| {
            let (start, end) = (place * records / count, (place + 1) * records / count);
            start + mix64(place) % (end - start)
        })
        .collect()
}

/// Reads the records back, all fields of each.
pub(super) async fn check_records(
    plan: &Plan,
    store: &dyn Store,
    dataset: &Dataset,
    name: &str,
    records: &[u64],
) -> Result<Check> {
    let mut session = store.session(SessionSpec { dataset: Some(dataset), depth: 1 }).await?;
    let mut reader = Reader { plan, answer: Answer::new(plan.keys.length_max()) };
    let mut wrong = 0;
    let mut first_fault = None;
    for record in records {
        match reader.read(session.as_mut(), *record).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WrongResult => {
                wrong += 1;
                first_fault.get_or_insert_with(|| error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    let right = records.len() - wrong;
    let sampled = records.len();
    let detail = match first_fault {
        None => format!("{right} of {sampled} sampled records are there and as they were written"),
        Some(fault) => format!("{right} of {sampled} sampled records are right; {fault}"),
    };
    Ok(Check { name: name.to_owned(), passed: wrong == 0, detail })
}

/// Reads records one at a time.
struct Reader<'a> {
    plan: &'a Plan,
    answer: Answer,
}

impl Reader<'_> {
    async fn read(&mut self, session: &mut dyn Session, record: u64) -> Result<()> {
        self.plan.keys.write(record, &mut self.answer.key);
        self.answer.expect(Expected::Record(Fields::All));
        let key = self.answer.key.clone();
        let request = Request::Read { key: &key, fields: Fields::All };
        let outcome = execute(session, &request, self).await?;
        self.answer.check(&self.plan.layout, outcome, true)
    }
}

impl Rows for Reader<'_> {
    fn begin(&mut self, _token: Token) {}

    fn row(&mut self, key: Option<&str>) {
        self.answer.row(&self.plan.layout, key);
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        self.answer.value(&self.plan.layout, column, value);
    }
}
