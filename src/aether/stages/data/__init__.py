"""The data stage: from files of text to filtered, deduplicated, split and tokenised documents, with a data card."""
