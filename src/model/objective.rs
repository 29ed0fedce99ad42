//! What training makes small, and one step towards it.
//!
//! Knows nothing of data sets, schedules or when to stop.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::Optimizer;

use super::lstm::{Dropout, State};
use super::network::{Lesson, Network, newest_first};

/// Windows whose graph is alive at once. What a layer keeps for its gradient then fits the second-level cache for models
/// of common size; at 256 windows an epoch took a quarter longer.
pub const PART_WINDOWS: usize = 64;

/// Gives the mean squared error of the rebuilt rows plus that of the foretold ones, whichever the model has, and the
/// encoder's state after the windows.
///
/// # Errors
/// candle's, when shapes do not fit, or the model has neither head.
pub fn loss(network: &Network, lesson: &Lesson<'_>, dropout: Dropout<'_>) -> Result<(Tensor, State)> {
    let taught = network.train_forward(lesson, dropout)?;
    let error = |found: &Tensor, truth: &Tensor| (found - truth)?.sqr()?.mean_all();
    let rebuilt = match &taught.rebuilt {
        Some(rebuilt) => Some(error(
            rebuilt,
            &newest_first(lesson.windows, network.spec().decoded_rows)?,
        )?),
        None => None,
    };
    let foretold = match (&taught.forecast, lesson.next) {
        (Some(forecast), Some(next)) => Some(error(forecast, &next.transpose(0, 1)?.contiguous()?)?),
        (Some(_), None) => candle_core::bail!("predictor: expected the next rows to compare with"),
        (None, _) => None,
    };
    let loss = match (rebuilt, foretold) {
        (Some(rebuilt), Some(foretold)) => (rebuilt + foretold)?,
        (Some(loss), None) | (None, Some(loss)) => loss,
        (None, None) => candle_core::bail!("a model without decoder and predictor has nothing to compare"),
    };
    Ok((loss, taught.encoded.state))
}

/// Gives a lesson's number as it is printed and compared.
///
/// # Errors
/// candle's, when the loss is no single number.
pub fn value(loss: &Tensor) -> Result<f64> {
    Ok(f64::from(loss.to_scalar::<f32>()?))
}

/// Takes one step of the optimiser by the mean loss of all windows, given in parts: each part's loss and its share of the
/// windows (0–1, summing to 1). A part's graph is gone before the next one is asked for. Gives the mean loss.
///
/// # Errors
/// candle's.
pub fn descend(
    network: &Network,
    optimiser: &mut impl Optimizer,
    parts: impl Iterator<Item = Result<(Tensor, f64)>>,
) -> Result<f64> {
    let variables = network.variables();
    let mut mean = 0.0;
    let mut sums: Option<GradStore> = None;
    for part in parts {
        let (loss, share) = part?;
        mean += share * value(&loss)?;
        let mut grads = (loss * share)?.backward()?;
        if let Some(sums) = &sums {
            for variable in &variables {
                if let (Some(sum), Some(grad)) = (sums.get(variable), grads.get(variable)) {
                    let sum = (sum + grad)?;
                    grads.insert(variable, sum);
                }
            }
        }
        sums = Some(grads);
    }
    if let Some(sums) = &sums {
        optimiser.step(sums)?;
    }
    Ok(mean)
}
