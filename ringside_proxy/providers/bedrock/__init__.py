"""Amazon Bedrock: Converse, its event stream and its signatures."""
