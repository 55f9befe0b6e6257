//! Bodies of the Open Inference Protocol that cost more than they weigh.
