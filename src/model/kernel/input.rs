//! What the kernel reads: the rows of windows, and carried states with the rows that wait for them.

/// The rows of one window, oldest first: those of `before`, then those of `newest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowRows<'a> {
    /// `(T − q, F)`.
    pub before: &'a [f32],
    /// `(q, F)`, q ≥ 1.
    pub newest: &'a [f32],
}

impl<'a> WindowRows<'a> {
    /// Gives row `t` of `features` numbers.
    pub fn row(&self, t: usize, features: usize) -> &'a [f32] {
        let start = t * features;
        match start.checked_sub(self.before.len()) {
            None => &self.before[start..start + features],
            Some(start) => &self.newest[start..start + features],
        }
    }

    /// Copies the oldest rows out, as many as fit.
    pub fn copy_to(&self, out: &mut [f32]) {
        let (before, newest) = out.split_at_mut(self.before.len().min(out.len()));
        before.copy_from_slice(&self.before[..before.len()]);
        newest.copy_from_slice(&self.newest[..newest.len()]);
    }
}

/// One instrument's carried state and the rows that wait for it.
#[derive(Debug, Default)]
pub struct CarriedRows<'a> {
    /// `(S,)`, as [`ModelSpec::parameters`](crate::model::spec::ModelSpec::parameters) orders it; moves on by all rows.
    pub state: &'a mut [f32],
    /// `(Q, F)`, oldest first.
    pub rows: &'a [f32],
}
