"""What de-identification keeps, empties and removes (DICOM PS3.15 2024e, Table E.1-1).

Text goes unless it is listed as kept, so the table's many descriptions, comments and labels need
no list of their own; listed here is what that rule does not reach.
"""

from __future__ import annotations

BURNED_IN = ("US", "SC", "OT", "ES", "XC", "IVUS")  # modalities that draw text into pixels
TEXT_VRS = {"AE", "AS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "UN"}

KEPT_TEXT = set(
    """
    SpecificCharacterSet Manufacturer ManufacturerModelName SoftwareVersions CodeValue
    CodingSchemeDesignator CodingSchemeVersion CodeMeaning LongCodeValue SequenceName
    PulseSequenceName ConvolutionKernel FilterType RescaleType LUTExplanation ModalityLUTType
    PositionReferenceIndicator ReceiveCoilName TransmitCoilName ReceiveCoilManufacturerName
    ImagedNucleus ResonantNucleus AngioFlag Radiopharmaceutical CollimatorGridName
    ReconstructionMethod AttenuationCorrectionMethod ScatterCorrectionMethod
    RandomsCorrectionMethod DecayCorrection WindowCenterWidthExplanation StackID
    SegmentAlgorithmName SegmentLabel DimensionDescriptionLabel DataPathID
    DeidentificationMethod TransducerType ImplementationVersionName
    """.split()  # noqa: SIM905
)
REPLACED_TEXT = {  # by dicognito
    "AccessionNumber",
    "PatientID",
    "StudyID",
    "IssuerOfPatientID",
}
IDENTIFYING = {  # searched for in what is written, as are names, dates and UIDs
    *("PatientID", "OtherPatientIDs", "IssuerOfPatientID", "AccessionNumber", "PatientAddress"),
    *("PatientTelephoneNumbers", "MedicalRecordLocator", "InstitutionName", "InstitutionAddress"),
    *("StationName", "DeviceSerialNumber", "AdmissionID", "ServiceEpisodeID"),
}
EMPTIED = {"PatientSex", "ContrastBolusAgent", "PatientBirthDate", "PatientBirthTime"}  # type 2
REMOVED = set(
    """
    PrivateInformation PrivateInformationCreatorUID
    PatientAge PatientSize PatientWeight PatientBodyMassIndex PregnancyStatus SmokingStatus
    PatientSexNeutered LastMenstrualDate PatientBirthName PatientMotherBirthName
    OtherPatientNames OtherPatientIDsSequence ReferencedPatientSequence ReferencedStudySequence
    ReferencedPatientPhotoSequence IssuerOfPatientIDQualifiersSequence
    IssuerOfAccessionNumberSequence SourcePatientGroupIdentificationSequence
    GroupOfPatientsIdentificationSequence PatientPrimaryLanguageCodeSequence
    PatientInsurancePlanCodeSequence PatientSpeciesCodeSequence PatientBreedCodeSequence
    BreedRegistrationSequence StrainStockSequence ResponsiblePerson ResponsiblePersonRole
    RequestAttributesSequence RequestedProcedureCodeSequence ReferencedRequestSequence
    ReferencedPerformedProcedureStepSequence PerformedProtocolCodeSequence
    PerformedProcedureCodeSequence ScheduledProcedureStepSequence ScheduledProtocolCodeSequence
    ProcedureCodeSequence ReasonForRequestedProcedureCodeSequence
    ReasonForPerformedProcedureCodeSequence AdmittingDiagnosesCodeSequence
    InstitutionCodeSequence InstitutionalDepartmentTypeCodeSequence StationAETitle
    PersonIdentificationCodeSequence PhysiciansOfRecordIdentificationSequence
    PhysiciansReadingStudyIdentificationSequence PerformingPhysicianIdentificationSequence
    ReferringPhysicianIdentificationSequence ConsultingPhysicianIdentificationSequence
    RequestingPhysicianIdentificationSequence OperatorIdentificationSequence
    ActualHumanPerformersSequence HumanPerformerCodeSequence ParticipantSequence
    VerifyingObserverSequence AuthorObserverSequence CustodialOrganizationSequence
    ContributingEquipmentSequence OriginalAttributesSequence ModifiedAttributesSequence
    NonconformingModifiedAttributesSequence EncryptedAttributesSequence DigitalSignaturesSequence
    MACParametersSequence IconImageSequence GraphicAnnotationSequence AcquisitionContextSequence
    ContentSequence DataSetTrailingPadding ReferencedDigitalSignatureSequence
    ConfidentialityCode PrivateDataElementCharacteristicsSequence TimezoneOffsetFromUTC
    DeviceSerialNumber DetectorID PlateID CassetteID GantryID UniqueDeviceIdentifier
    UDISequence DateOfLastCalibration TimeOfLastCalibration DateOfLastDetectorCalibration
    TimeOfLastDetectorCalibration DateOfSecondaryCapture ScheduledHumanPerformersSequence
    TextValue TextString PersonName EncapsulatedDocument WaveformAnnotationSequence
    InterpretationRecorder PertinentDocumentsSequence PertinentResourcesSequence
    SpecialNeeds PatientState VisitStatusID ServiceEpisodeID AdmissionID RouteOfAdmissions
    SubstanceAdministrationApproval
    """.split()  # noqa: SIM905
)
MAKERS = {"Manufacturer", "ManufacturerModelName", "SpecificCharacterSet"}
OVERLAYS = (0x5000, 0x6000)  # curves and overlays: groups 50xx and 60xx
SHORTEST = 4  # characters of a value that is searched for: shorter ones occur by chance
METHOD_CODES = (  # PS3.16 CID 7050
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
