//! Scaling policies, as the simulator and the live bridge run them.
