//! Time: schedules, workers, warm-up, recorder
