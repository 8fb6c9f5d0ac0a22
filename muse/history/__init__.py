"""What is in the commit DAG?"""
