//! Why a training gave no model, and under which outcome it is counted.

use thiserror::Error;

use crate::kafka::client::BrokerError;
use crate::store::StoreError;
use crate::train::gate::Verdict;
use crate::train::trainer::TrainError;

/// Why a training gave no model.
#[derive(Debug, Error)]
pub(super) enum LearnError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("decode: {0}")]
    Decode(String),
    #[error("{0}")]
    Refused(Verdict),
}

impl LearnError {
    pub fn outcome(&self) -> &'static str {
        match self {
            LearnError::Refused(_) => "refused",
            LearnError::Train(TrainError::TooFewTicks { .. }) => "too_few_ticks",
            _ => "failed",
        }
    }
}
