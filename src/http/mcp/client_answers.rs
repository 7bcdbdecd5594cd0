//! Questions to clients of older revisions that wait for an answer, which comes in a request of its own.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

/// The questions that wait: as many as there are streams that wait for them, times what one function may ask at once.
#[derive(Debug, Clone, Default)]
pub struct ClientAnswers(Arc<Mutex<HashMap<Box<str>, oneshot::Sender<Value>>>>);

/// A question that waits. Dropping it forgets the question.
#[derive(Debug)]
pub struct Waiting {
    /// The id of the question.
    pub id: Box<str>,
    all: ClientAnswers,
    answer: oneshot::Receiver<Value>,
}

impl ClientAnswers {
    /// A question of a new id, which no other client can guess.
    #[must_use]
    pub fn ask(&self) -> Waiting {
        let (sender, answer) = oneshot::channel();
        let id: Box<str> = ulid::Ulid::new().to_string().into();
        self.0.lock().insert(id.clone(), sender);
        Waiting { id, all: self.clone(), answer }
    }

    /// Gives a question its answer. Returns whether it waits for one.
    #[must_use]
    pub fn give(&self, id: &str, answer: Value) -> bool {
        let waiting = self.0.lock().remove(id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }
}

impl Waiting {
    /// Waits for the answer; `null` if the client cannot answer.
    pub async fn answer(&mut self) -> Value {
        (&mut self.answer).await.unwrap_or_default()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_its_own_question_once() {
        let all = ClientAnswers::default();
        let (mut one, other) = (all.ask(), all.ask());
        assert!(all.give(&one.id, 1.into()) && !all.give(&one.id, 2.into()) && !all.give("x", 3.into()));
        assert_eq!(one.answer().await, 1);
        let id = other.id.clone();
        drop(other);
        assert!(!all.give(&id, 4.into()));
        assert!(all.0.lock().is_empty());
    }
}
