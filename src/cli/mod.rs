//! The command line: arguments, commands and output. The one place that prints, and the composition root.
