//! Downsampling: many ticks to few points, such that no spike is lost.

/// Keeps lowest and highest value of each bucket, in the order of ticks: at most `points_max` points.
pub(super) fn extremes(values: &[Option<f64>], points_max: usize) -> Vec<(usize, f64)> {
    let given = || {
        values
            .iter()
            .enumerate()
            .filter_map(|(tick, value)| Some((tick, (*value)?)))
    };
    if values.len() <= points_max {
        return given().collect();
    }
    let buckets = (points_max / 2).max(1);
    let bucket_of = |tick: usize| tick * buckets / values.len();
    let points: Vec<(usize, f64)> = given().collect();
    let mut kept = Vec::with_capacity(points_max);
    for bucket in points.chunk_by(|left, right| bucket_of(left.0) == bucket_of(right.0)) {
        let by_value = |left: &&(usize, f64), right: &&(usize, f64)| left.1.total_cmp(&right.1);
        let (low, high) = (bucket.iter().min_by(by_value), bucket.iter().max_by(by_value));
        let mut both: Vec<(usize, f64)> = low.into_iter().chain(high).copied().collect();
        both.sort_unstable_by_key(|point| point.0);
        both.dedup_by_key(|point| point.0);
        kept.extend(both);
    }
    kept
}

/// Keeps the highest value of each bucket: at most `points_max` points.
pub(super) fn maxima(values: &[f64], points_max: usize) -> Vec<(usize, f64)> {
    let buckets = points_max.clamp(1, values.len().max(1));
    let highest = |bucket: usize| {
        let first = bucket * values.len() / buckets;
        let last = (bucket + 1) * values.len() / buckets;
        let own = (first..last).map(|tick| (tick, values[tick]));
        own.reduce(|best, next| if next.1 > best.1 { next } else { best })
    };
    (0..buckets).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_survive() {
        for spike in [0, 1, 17_000, 29_999] {
            let mut values = vec![Some(100.0); 30_000];
            values[spike] = Some(250.0);
            values[(spike + 3) % 30_000] = Some(3.0);
            values[5_000] = None;
            let kept = extremes(&values, 1_200);
            assert!(kept.len() <= 1_200 && kept.is_sorted_by_key(|point| point.0));
            assert!(kept.contains(&(spike, 250.0)) && kept.contains(&((spike + 3) % 30_000, 3.0)));

            let mut scores = vec![0.5; 30_000];
            scores[spike] = 9.0;
            let kept = maxima(&scores, 600);
            assert!(kept.len() == 600 && kept.contains(&(spike, 9.0)));
        }
    }

    #[test]
    fn few_ticks_are_all_kept() {
        let values = [Some(1.0), None, Some(1.0), Some(1.0)];
        assert_eq!(extremes(&values, 10), [(0, 1.0), (2, 1.0), (3, 1.0)]);
        assert_eq!(maxima(&[1.0, 2.0], 10), [(0, 1.0), (1, 2.0)]);
        assert!(extremes(&[], 10).is_empty() && maxima(&[], 10).is_empty());
    }
}
