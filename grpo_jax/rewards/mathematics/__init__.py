"""The reward of mathematical answers: exact comparison here, everything else in processes that can be killed."""
