//! The committer: a thread that commits offsets and keeps the broker's answers.
//!
//! librdkafka tells what became of a commit only to whoever waits for it, and that can take as long as a broker is away. So
//! the worker hands offsets over and looks for the answer later. One commit is under way at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::pipeline::position::TopicPartition;

/// What the broker said to a commit.
#[derive(Clone, Debug)]
pub struct CommitAnswer {
    /// The partitions whose offsets were to be committed.
    pub partitions: Vec<TopicPartition>,
    /// Why they were not; none when they were.
    pub error: Option<KafkaError>,
}

type Request = (Vec<TopicPartition>, TopicPartitionList);

/// What the thread and its owner share.
#[derive(Default)]
struct Shared {
    is_busy: AtomicBool,
    answers: Mutex<Vec<CommitAnswer>>,
}

/// Commits for one consumer.
pub(super) struct Committer {
    /// Both until it is dropped.
    thread: Option<(Sender<Request>, JoinHandle<()>)>,
    shared: Arc<Shared>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start<C: ConsumerContext + 'static>(consumer: Arc<BaseConsumer<C>>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (requests, received) = mpsc::channel::<Request>();
        let kept = Arc::clone(&shared);
        let run = move || {
            for (partitions, list) in received {
                let error = consumer.commit(&list, CommitMode::Sync).err();
                if let Ok(mut answers) = kept.answers.lock() {
                    answers.push(CommitAnswer { partitions, error });
                }
                kept.is_busy.store(false, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new().name("committer".into()).spawn(run)?;
        Ok(Committer {
            thread: Some((requests, thread)),
            shared,
        })
    }

    /// Tells whether a commit is under way.
    pub fn is_busy(&self) -> bool {
        self.shared.is_busy.load(Ordering::Acquire)
    }

    /// Commits offsets.
    pub fn commit(&self, partitions: Vec<TopicPartition>, list: TopicPartitionList) {
        if let Some((requests, _)) = &self.thread {
            self.shared.is_busy.store(true, Ordering::Release);
            // The thread ends with this sender alone.
            let _ = requests.send((partitions, list));
        }
    }

    /// Takes the broker's answers since the last call.
    pub fn take_answers(&self) -> Vec<CommitAnswer> {
        let answers = self.shared.answers.lock();
        answers.map_or_else(|_| Vec::new(), |mut answers| std::mem::take(&mut *answers))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The consumer is dropped by its owner and not by this thread, which may wait for a broker that is away. Whoever
        // stops the process does not wait for ever.
        if let Some((requests, thread)) = self.thread.take() {
            drop(requests);
            let _ = thread.join();
        }
    }
}
