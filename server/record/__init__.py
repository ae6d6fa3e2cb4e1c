"""The health record: documents found in a patient's messages, who may see them, and how they are filed."""
